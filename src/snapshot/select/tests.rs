use super::*;

const PAGE: &str = r#"# TYPE http_requests untyped
http_requests{job="api",code="200"} 10
http_requests{job="api",code="500",path="a\"b\\c\nd"} 2
http_requests{job="web"} 7
up{job="api"} 1
up{job="db",}	0
"#;

/// The values that a selector chooses from [`PAGE`].
fn chosen(selector: &str) -> Vec<f64> {
    let page = Exposition::parse(PAGE.to_owned()).unwrap();
    let selector = Selector::parse(selector).unwrap();
    page.select(&selector).map(|sample| sample.value).collect()
}

#[track_caller]
fn refused(text: &str, want: &str) {
    let error = Selector::parse(text).unwrap_err().to_string();
    assert!(error.contains(want), "{text}: {error}");
}

#[test]
fn each_operator_selects_as_in_prometheus() {
    assert_eq!(chosen("up"), [1.0, 0.0]);
    assert_eq!(chosen(" up { } "), [1.0, 0.0]);
    assert_eq!(chosen(r#"up{job="db"}"#), [0.0]);
    assert_eq!(chosen(r#"{job="api"}"#), [10.0, 2.0, 1.0]);
    assert_eq!(chosen(r#"http_requests{code!="200"}"#), [2.0, 7.0], "a label that is missing is empty");
    assert_eq!(chosen(r#"http_requests{code=""}"#), [7.0]);
    assert_eq!(chosen(r#"http_requests{code!=""}"#), [10.0, 2.0]);
    assert_eq!(chosen(r#"http_requests{code=~"2..|4.*"}"#), [10.0]);
    assert_eq!(chosen(r#"http_requests{code=~"2"}"#), [0.0; 0], "regular expressions are anchored");
    assert_eq!(chosen(r#"http_requests{code=~"2.*|"}"#), [10.0, 7.0]);
    assert_eq!(chosen(r#"http_requests{code!~"2.*"}"#), [2.0, 7.0]);
    assert_eq!(chosen(r#"{__name__=~"u.|http_.*",job!~"db|web"}"#), [10.0, 2.0, 1.0]);
    assert_eq!(chosen(r#"{__name__="up",job=~".+"}"#), [1.0, 0.0]);
    assert_eq!(chosen(r#"{__name__="up",__name__!="up"}"#), [0.0; 0]);
    assert_eq!(chosen(r#"{__name__!="up",job=~".+"}"#), [10.0, 2.0, 7.0]);
    assert_eq!(chosen(r#"up{job="api",job!="db"}"#), [1.0]);
    assert_eq!(chosen("absent"), [0.0; 0]);
}

#[test]
fn strings_are_gos() {
    for path in [
        r#""a\"b\\c\nd""#,
        r#"'a"b\\c\nd'"#,
        "\"a\\x22b\\134c\\u000ad\"",
        "\"a\\042b\\\\c\\U0000000ad\"",
        "`a\"b\\c\nd`",
    ] {
        assert_eq!(chosen(&format!("http_requests{{path={path}}}")), [2.0], "{path}");
    }
    assert_eq!(chosen("http_requests{path=~\"a.*d\"}"), [2.0], "a dot matches a newline");
    let selector = Selector::parse("x{a='\\'\\a\\b\\f\\r\\t\\v\\xc3\\xa4ö',}").unwrap();
    assert!(selector.matches("x", |_| Some("'\u{7}\u{8}\u{c}\r\t\u{b}äö")));
    refused(r#"x{a="\d"}"#, "at byte 6 of the selector: unknown escape");
    refused(r#"x{a='\"'}"#, "unknown escape");
    refused(r#"x{a="\400"}"#, "unknown escape");
    refused(r#"x{a="\xg0"}"#, "unknown escape");
    refused(r#"x{a="\ud800"}"#, "unknown escape");
    refused(r#"x{a="\u00"#, "unknown escape");
    refused(r#"x{a="\xff"}"#, "not UTF-8");
    refused(r#"x{a="b"#, "at byte 4 of the selector: unterminated string");
    refused("x{a=\"b\n\"}", "unterminated string");
    refused("x{a=`b", "unterminated string");
    refused("x{a=\"b\\", "unknown escape");
}

#[test]
fn what_is_no_selector_is_refused_with_its_place() {
    refused("", "at byte 0 of the selector: expected a metric name or `{`");
    refused("1up", "expected a metric name");
    refused("up{", "at byte 3 of the selector: expected a label name or `}`");
    refused("up{,}", "expected a label name");
    refused(r#"up{a="b",,}"#, "expected a label name");
    refused(r#"up{a="b" c="d"}"#, "expected `,` or `}`");
    refused(r#"up{a="b""#, "expected `,` or `}`");
    refused("up{a}", "expected `=`");
    refused(r#"up{a=="b"}"#, "expected a string");
    refused("up{a=b}", "expected a string");
    refused(r#"up{a:b="c"}"#, "expected `=`");
    refused(r#"up{ä="c"}"#, "expected a label name");
    refused(r#"up{__name__="up"}"#, "the metric name is set twice");
    refused(r#"up{a="b"} offset 5m"#, "ranges, offsets and operators are not supported");
    refused("up[5m]", "ranges, offsets");
    refused("up > 1", "ranges, offsets");
    refused(r#"up{a=~"("}"#, "at byte 6 of the selector: bad regular expression");
    refused(r#"up{a=~"a)|(b"}"#, "bad regular expression");
}

#[test]
fn a_selector_of_everything_is_refused() {
    for text in
        ["{}", r#"{a=""}"#, r#"{a=~".*"}"#, r#"{a!~".+"}"#, r#"{a!="b"}"#, r#"{__name__=~".*"}"#, r#"{a=~"b|"}"#]
    {
        refused(text, "at least one matcher");
    }
    for text in ["up{}", r#"{a=~".+"}"#, r#"{a!=""}"#, r#"{a="",b!~"x|"}"#, r#"{__name__=~".+"}"#, "a:b:c", "_", ":"] {
        assert!(Selector::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn caps_hold() {
    refused(&"x".repeat(MAX_SELECTOR_BYTES + 1), "longer than 4096 bytes");
    let many = |count| format!("x{{{}}}", r#"a="b","#.repeat(count));
    assert!(Selector::parse(&many(MAX_MATCHERS - 1)).is_ok());
    refused(&many(MAX_MATCHERS), "more than 32 matchers");
    refused(r#"x{a=~"((\\w{100}){100}){100}"}"#, "bad regular expression");
    refused(&format!(r#"x{{a=~"{}{}"}}"#, "(".repeat(60), ")".repeat(60)), "bad regular expression");
}

#[test]
fn names_given_outright_are_known() {
    assert_eq!(Selector::parse("up{a='b'}").unwrap().name(), Some("up"));
    assert_eq!(Selector::parse("{__name__='up'}").unwrap().name(), Some("up"));
    assert_eq!(Selector::parse("{__name__=~'up'}").unwrap().name(), None);
}

#[test]
fn a_pages_own_labels_count_where_the_sample_has_none() {
    let page = ObservedPage {
        target: "broker".into(),
        page: Exposition::parse("up{job=\"api\"} 1\nup 2\n".to_owned()).unwrap().into(),
        labels: std::sync::Arc::new([("job".to_owned(), "kafka".to_owned())].into()),
    };
    let chosen = |text: &str| {
        let selector = Selector::parse(text).unwrap();
        page.select(&selector).map(|sample| (sample.labels[0].1.to_string(), sample.value)).collect::<Vec<_>>()
    };
    assert_eq!(chosen("up{job='kafka'}"), [("kafka".to_owned(), 2.0)]);
    assert_eq!(chosen("up{job='api'}"), [("api".to_owned(), 1.0)]);
}
