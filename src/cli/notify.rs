//! `brokerwarden notify`.

use super::{
    EXIT_CHECK_FAILED, EXIT_USAGE, log,
    run::{block_on, load},
};
use crate::deliver::{self, Trial};
use std::{path::Path, process::ExitCode};

/// Tells a test alert by the notifier `name`, and says what each of its receivers answered.
pub(super) fn test(name: &str, path: &Path) -> ExitCode {
    let config = match load(path) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let Some(notifier) = config.notify.iter().find(|notifier| notifier.name == name) else {
        let names: Vec<_> = config.notify.iter().map(|notifier| notifier.name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        eprintln!("there is no notifier `{name}` in {}; there are: {names}", path.display());
        return ExitCode::from(EXIT_USAGE);
    };
    let guard = log::start("info", log::LogFormat::Text);
    let mut told = true;
    let code = block_on(async {
        for Trial { receiver, result } in deliver::send_test(notifier, config.cluster.as_deref()).await {
            match result {
                Ok(answer) => println!("told {receiver}: {answer}"),
                Err(error) => {
                    told = false;
                    println!("NOT told {receiver}: {error}");
                }
            }
        }
        Ok(true)
    });
    drop(guard);
    if told { code } else { ExitCode::from(EXIT_CHECK_FAILED) }
}
