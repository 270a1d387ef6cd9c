//! The files of the page for people, as they are in `web/`: compiled in, compressed once, told apart by their hash.

use super::answers::compress;
use crate::model::hex;
use bytes::Bytes;
use flate2::Compression;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// A file of the page.
#[derive(Debug)]
pub(super) struct Asset {
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    pub(super) plain: Bytes,
    /// `None` where it could not be made.
    pub(super) gzip: Option<Bytes>,
    /// In quotes, as an `ETag` has it; of the plain file.
    pub(super) tag: String,
}

pub(super) const HTML_TYPE: &str = "text/html; charset=utf-8";
const SCRIPT_TYPE: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($path:literal $file:literal $content_type:expr;)*) => {
        /// Where these files are.
        pub(super) const PATHS: &[&str] = &[$($path),*];
        static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| vec![
            $(asset($path, $content_type, include_bytes!(concat!("web/", $file))),)*
        ]);
    };
}

files! {
    "/" "index.html" HTML_TYPE;
    "/web/alerts.js" "alerts.js" SCRIPT_TYPE;
    "/web/chart.js" "chart.js" SCRIPT_TYPE;
    "/web/dom.js" "dom.js" SCRIPT_TYPE;
    "/web/groups.js" "groups.js" SCRIPT_TYPE;
    "/web/icon.svg" "icon.svg" "image/svg+xml";
    "/web/page.css" "page.css" "text/css; charset=utf-8";
    "/web/page.js" "page.js" SCRIPT_TYPE;
    "/web/rules.js" "rules.js" SCRIPT_TYPE;
    "/web/table.js" "table.js" SCRIPT_TYPE;
    "/web/targets.js" "targets.js" SCRIPT_TYPE;
    "/web/toolbar.js" "toolbar.js" SCRIPT_TYPE;
    "/web/topics.js" "topics.js" SCRIPT_TYPE;
    "/web/views.js" "views.js" SCRIPT_TYPE;
}

fn asset(path: &'static str, content_type: &'static str, plain: &'static [u8]) -> Asset {
    let gzip = compress(plain, Compression::best()).ok();
    let digest = hex::of(&Sha256::digest(plain));
    let tag = format!("\"{}\"", digest.get(..32).unwrap_or(&digest));
    Asset { path, content_type, plain: Bytes::from_static(plain), gzip, tag }
}

/// The file at that path.
pub(super) fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    #[test]
    fn the_page_is_small_whole_and_writes_no_markup() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/web");
        let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files.len(), PATHS.len(), "each file is served: {files:?}");
        let sum = |size: fn(&Asset) -> usize| ASSETS.iter().map(size).sum::<usize>();
        let (plain, packed) = (sum(|one| one.plain.len()), sum(|one| one.gzip.as_ref().unwrap().len()));
        assert!(plain < 100 << 10 && packed < 40 << 10, "{plain} bytes, {packed} over the network");
        for asset in ASSETS.iter() {
            let text = str::from_utf8(&asset.plain).unwrap();
            // Names from outside are text; nothing comes from elsewhere; nothing is styled or run from within markup.
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", " style="]
            {
                assert!(!text.contains(word), "{word} in {}", asset.path);
            }
            for address in text.split("://").skip(1) {
                assert!(address.starts_with("www.w3.org/"), "{} names an address: {address:.40}", asset.path);
            }
            assert!(text.lines().count() <= 600, "{} is long", asset.path);
        }
    }
}
