//! What a rule keeps between evaluations: bytes by key, private to the rule. They survive a reload; when the evaluation
//! fails, they are as before.

use crate::{Error, Failure, imports};
use serde::{Serialize, de::DeserializeOwned};

/// What was kept under a key.
pub fn get(key: &str) -> Option<Vec<u8>> {
    imports::state::get(key)
}

/// Keeps bytes under a key.
///
/// # Errors
/// [`Error::LimitExceeded`] when the rule's quota (`limits.state`) would be exceeded.
pub fn set(key: &str, value: &[u8]) -> Result<(), Error> {
    imports::state::set(key, value)
}

/// Forgets a key.
pub fn remove(key: &str) {
    imports::state::remove(key);
}

/// The keys that begin so.
pub fn keys(prefix: &str) -> Vec<String> {
    imports::state::keys(prefix)
}

/// A value that was kept by [`save`]; `None` if there is none.
///
/// # Errors
/// [`Failure::Failed`] when what is there is not of that type, as after a new version of the rule changed it.
///
/// ```
/// use brokerwarden_rule::{mock::Mock, state};
/// Mock::new().run(|| {
///     assert_eq!(state::load::<Vec<u32>>("seen"), Ok(None));
///     state::save("seen", &vec![1, 2]).unwrap();
///     assert_eq!(state::load("seen"), Ok(Some(vec![1, 2])));
/// });
/// ```
pub fn load<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Failure> {
    let read = |bytes: Vec<u8>| {
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::Failed(format!("state {key:?} cannot be read: {error}")))
    };
    get(key).map(read).transpose()
}

/// Keeps a value under a key, as JSON.
///
/// # Errors
/// As [`set`].
pub fn save<T: Serialize>(key: &str, value: &T) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(value).map_err(|error| Failure::Failed(format!("state {key:?}: {error}")))?;
    Ok(set(key, &bytes)?)
}
