use super::*;
use crate::{
    model::{Labels, families::is_own},
    snapshot::Exposition,
};
use std::{
    collections::HashSet,
    io::Read,
    time::{Duration, Instant},
};

fn page(target: &str, text: &str, labels: &[(&str, &str)]) -> ObservedPage {
    let labels: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let page = Exposition::parse(text.to_owned()).unwrap();
    ObservedPage { target: target.into(), page: page.into(), labels: labels.into() }
}

/// Everything of all pages.
fn encode_all(pages: &[&ObservedPage]) -> ForeignPart {
    let all = [Regex::new("^(?:.*)$").unwrap()];
    let pages: Vec<_> = pages.iter().map(|observed| ForeignPage { observed, keep: &all, drop: &[] }).collect();
    encode(&pages, is_own)
}

fn dropped(target: &str, reason: &'static str, samples: u64) -> Dropped {
    Dropped { target: target.into(), reason, samples }
}

#[track_caller]
fn check(pages: &[&str], want: &str) {
    let pages: Vec<_> = pages.iter().map(|text| page("p", text, &[])).collect();
    let part = encode_all(&pages.iter().collect::<Vec<_>>());
    assert_eq!(part.text, want);
}

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/data/jmx/{name}.txt.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// A sample line as name, sorted labels and value: read by splitting at `",`, on purpose not by our parser.
fn by_hand(line: &str) -> (String, Vec<String>, String) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let Some((name, labels)) = series.split_once('{') else { return (series.to_owned(), Vec::new(), value.to_owned()) };
    let labels = labels.strip_suffix('}').unwrap();
    let labels = labels.strip_suffix(',').unwrap_or(labels);
    let mut labels: Vec<_> = labels.split("\",").map(|label| label.trim_end_matches('"').to_owned()).collect();
    labels.sort();
    (name.to_owned(), labels, value.to_owned())
}

#[track_caller]
fn check_fixture(name: &str) {
    let text = fixture(name);
    let observed = page("broker", &text, &[]);
    let part = encode_all(&[&observed]);
    let samples = |text: &str| {
        let mut all: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).map(by_hand).collect();
        all.sort();
        all
    };
    let (want, got) = (samples(&text), samples(&part.text));
    assert_eq!(want.len(), got.len());
    assert_eq!(part.series, u64::try_from(want.len()).unwrap());
    for (want, got) in want.iter().zip(&got) {
        assert_eq!(want, got);
    }
    assert_eq!(part.dropped, []);
    let heads = |text: &str| {
        let mut heads: Vec<_> = text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect();
        heads.sort();
        heads
    };
    for (want, got) in heads(&text).iter().zip(&heads(&part.text)) {
        assert_eq!(want, got);
    }
    assert_eq!(heads(&text).len(), heads(&part.text).len());
    strict(&part.text);
}

/// What a strict reader demands: HELP and TYPE once, before the samples; one block per family, in order.
#[track_caller]
fn strict(text: &str) {
    assert!(text.ends_with('\n'));
    let mut families = Vec::new();
    let mut series = HashSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            families.push((help.split(' ').next().unwrap(), "help", ""));
        } else if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            if families.last().is_some_and(|last| *last == (name, "help", "")) {
                families.pop();
            }
            families.push((name, "type", kind));
        } else {
            let (name, labels, _) = by_hand(line);
            let (family, _, kind) = families.last().unwrap();
            let suffix = name.strip_prefix(family).unwrap();
            let suffixes: &[&str] = match *kind {
                "histogram" => &["", "_bucket", "_sum", "_count"],
                "summary" => &["", "_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "{line} in {family}");
            assert!(series.insert((name, labels)), "{line}");
        }
    }
    let names: Vec<_> = families.iter().map(|(name, ..)| *name).collect();
    assert!(names.is_sorted() && families.iter().all(|(_, what, _)| *what == "type"));
    let distinct: HashSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    for (name, _, kind) in &families {
        let suffixes: &[&str] = match *kind {
            "histogram" => &["_bucket", "_sum", "_count"],
            "summary" => &["_sum", "_count"],
            _ => &[],
        };
        assert!(suffixes.iter().all(|suffix| !distinct.contains(&format!("{name}{suffix}").as_str())), "{name}");
    }
}

#[test]
fn a_real_page_of_agent_0_17_comes_out_whole() {
    check_fixture("agent-0.17.2-kafka-3.9.1");
}

#[test]
fn a_real_page_of_agent_1_0_comes_out_whole() {
    check_fixture("agent-1.0.1-kafka-4.1.1");
}

#[test]
fn what_a_page_costs_is_printed() {
    let text = fixture("agent-1.0.1-kafka-4.1.1");
    let (mut parse, mut encode) = (Duration::MAX, Duration::MAX);
    for _ in 0..20 {
        let copy = text.clone();
        let started = Instant::now();
        let parsed = Exposition::parse(copy).unwrap();
        parse = parse.min(started.elapsed());
        let observed = ObservedPage { target: "p".into(), page: parsed.into(), labels: Labels::new().into() };
        let started = Instant::now();
        assert_eq!(encode_all(&[&observed]).series, 40_331);
        encode = encode.min(started.elapsed());
    }
    println!("{} bytes: parsed in {parse:?}, encoded in {encode:?} (best of 20)", text.len());
}

#[test]
fn both_pages_together_are_one_strict_page() {
    let old = page("old", &fixture("agent-0.17.2-kafka-3.9.1"), &[("broker", "1")]);
    let new = page("new", &fixture("agent-1.0.1-kafka-4.1.1"), &[("broker", "2")]);
    let part = encode_all(&[&old, &new]);
    strict(&part.text);
    assert_eq!(part.series, u64::try_from(old.page.sample_count() + new.page.sample_count()).unwrap());
    if let Ok(path) = std::env::var("WRITE_PAGE") {
        std::fs::write(path, &part.text).unwrap();
    }
    let (jmx, of) = (old.page.samples_named("jmx_scrape_error").count(), new.page.samples_named("jmx_scrape_error"));
    assert_eq!((jmx, of.count()), (1, 1));
    assert!(part.text.contains("\njmx_scrape_error{broker=\"1\"} 0.0\njmx_scrape_error{broker=\"2\"} 0.0\n"));
}

#[test]
fn families_come_together_over_pages_and_the_first_help_wins() {
    check(
        &[
            "# HELP b one\n# TYPE b gauge\nb{x=\"1\"} 1\na 2 1700000000000\nb{x=\"0\",} 3\n",
            "# HELP b two\n# TYPE b gauge\nb 4\n# TYPE e gauge\n",
        ],
        "# TYPE a untyped\na 2\n# HELP b one\n# TYPE b gauge\nb{x=\"1\"} 1\nb{x=\"0\"} 3\nb 4\n",
    );
}

#[test]
fn types_that_differ_become_untyped() {
    check(
        &["# TYPE a gauge\na 1\n", "# TYPE a counter\n# HELP a late\na{x=\"1\"} 2\n"],
        "# HELP a late\n# TYPE a untyped\na 1\na{x=\"1\"} 2\n",
    );
}

#[test]
fn help_is_escaped_where_the_page_did_not() {
    check(
        &["# HELP a C:\\dir \\\\ok \\n \\\" \\\na 1\n"],
        "# HELP a C:\\\\dir \\\\ok \\n \\\\\" \\\\\n# TYPE a untyped\na 1\n",
    );
}

#[test]
fn values_keep_their_text_but_for_infinities() {
    check(
        &["a{n=\"1\"} 1.80E7\na{n=\"2\"} Infinity\na{n=\"3\"} -infinity\na{n=\"4\"} nan\na{n=\"5\"} +0.10\n"],
        "# TYPE a untyped\na{n=\"1\"} 1.80E7\na{n=\"2\"} +Inf\na{n=\"3\"} -Inf\na{n=\"4\"} NaN\na{n=\"5\"} +0.10\n",
    );
}

#[test]
fn the_lines_of_histograms_and_summaries_stay_together() {
    let text = concat!(
        "# TYPE h histogram\nh_bucket{le=\"0.50\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n",
        "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 3\ns_count 2\n",
        "# TYPE s_bucket untyped\ns_bucket 1\n# TYPE s_count_x untyped\ns_count_x 1\n",
    );
    check(&[text], text);
}

#[test]
fn a_name_that_is_a_family_and_part_of_another_leaves_both_untyped() {
    check(
        &[
            "# TYPE a summary\na{quantile=\"0.5\"} 0\na_count 1\na_sum 2\n",
            "# HELP a_count mine\n# TYPE a_count gauge\na_count{x=\"1\"} 3\n",
        ],
        concat!(
            "# TYPE a untyped\na{quantile=\"0.5\"} 0\n# HELP a_count mine\n# TYPE a_count untyped\na_count 1\n",
            "a_count{x=\"1\"} 3\n# TYPE a_sum untyped\na_sum 2\n",
        ),
    );
    check(
        &["# TYPE a summary\na_count 1\n", "# TYPE a gauge\na{x=\"1\"} 3\n"],
        "# TYPE a untyped\na{x=\"1\"} 3\n# TYPE a_count untyped\na_count 1\n",
    );
    check(
        &["# TYPE a summary\na_count 1\n", "a_count{x=\"1\"} 3\n"],
        "# TYPE a summary\na_count 1\na_count{x=\"1\"} 3\n",
    );
    let observed = page("p", "# TYPE a summary\na 1\n", &[]);
    let all = [Regex::new("^.*$").unwrap()];
    let part = encode(&[ForeignPage { observed: &observed, keep: &all, drop: &[] }], |name| name == "a_sum");
    assert_eq!(part.text, "# TYPE a untyped\na 1\n", "ours count as well");
}

#[test]
fn bounds_that_are_no_numbers_make_the_family_untyped() {
    check(&["# TYPE a summary\na{quantile=\"p99\"} 1\n"], "# TYPE a untyped\na{quantile=\"p99\"} 1\n");
    check(&["# TYPE a histogram\na_bucket{le=\"\"} 1\n"], "# TYPE a_bucket untyped\na_bucket{le=\"\"} 1\n");
}

#[test]
fn each_series_comes_once_whatever_the_order_of_its_labels() {
    let one = page("one", "a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\",} 2\na{z=\"\"} 3\na 4\na{x=\"2\",y=\"1\"} 5\n", &[]);
    let two = page("two", "a{y=\"2\",z=\"\",x=\"1\"} 6\na{x=\"1\"} 7\n", &[]);
    let part = encode_all(&[&one, &two]);
    assert_eq!(part.text, "# TYPE a untyped\na{x=\"1\",y=\"2\"} 1\na{z=\"\"} 3\na{x=\"2\",y=\"1\"} 5\na{x=\"1\"} 7\n");
    assert_eq!(part.series, 4);
    assert_eq!(part.dropped, [dropped("one", DUPLICATE, 2), dropped("two", DUPLICATE, 1)]);
}

#[test]
fn page_labels_are_added_where_the_sample_has_none_and_tell_pages_apart() {
    let one = page("one", "a 1\na{broker=\"9\",} 2\na{x=\"1\"} 3\n", &[("broker", "b\"1\\\n"), ("dc", "")]);
    let two = page("two", "a 4\na{broker=\"9\"} 5\n", &[("broker", "9")]);
    let part = encode_all(&[&one, &two]);
    let want =
        "# TYPE a untyped\na{broker=\"b\\\"1\\\\\\n\"} 1\na{broker=\"9\"} 2\na{x=\"1\",broker=\"b\\\"1\\\\\\n\"} 3\n";
    assert_eq!(part.text, want);
    assert_eq!(part.dropped, [dropped("two", DUPLICATE, 2)]);
}

#[test]
fn our_names_are_left_to_us() {
    let text = "# TYPE kafka_brokers counter\nkafka_brokers 7\nkafka_brokers{x=\"1\"} 7\nrule_x 1\nbrokerwarden_target_up 1\nb 1\n";
    let part = encode_all(&[&page("p", text, &[])]);
    assert_eq!(part.text, "# TYPE b untyped\nb 1\n");
    assert_eq!(part.dropped, [dropped("p", OWN_NAME, 4)]);
}

#[test]
fn keep_and_drop_choose_by_the_samples_name() {
    let observed = page("p", "# TYPE a summary\na_sum 1\na_count 2\nb 3\nkafka_brokers 1\n", &[]);
    let regexes =
        |text: &[&str]| text.iter().map(|text| Regex::new(&format!("^(?:{text})$")).unwrap()).collect::<Vec<_>>();
    let text = |keep: &[&str], drop: &[&str]| {
        let part = encode(&[ForeignPage { observed: &observed, keep: &regexes(keep), drop: &regexes(drop) }], is_own);
        assert_eq!(part.dropped, []);
        part.text
    };
    assert_eq!(text(&["a.*", "b"], &["a_sum"]), "# TYPE a summary\na_count 2\n# TYPE b untyped\nb 3\n");
    assert_eq!(text(&["a"], &[]), "");
    assert_eq!(text(&[], &[]), "");
}
