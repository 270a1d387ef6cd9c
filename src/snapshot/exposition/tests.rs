use super::*;

fn parse(text: &str) -> Exposition {
    Exposition::parse(text.to_owned()).unwrap()
}

#[track_caller]
fn refused(text: &str, line: usize, problem: &Problem) {
    let error = Exposition::parse(text.to_owned()).unwrap_err();
    assert_eq!((error.line, &error.problem), (line, problem), "{text:?}");
}

/// A number that fails a page.
#[track_caller]
fn bad_value(value: &str) {
    refused(&format!("good 1\nbad {value}\ngood 2\n"), 2, &Problem::Value);
}

#[test]
fn both_agents_styles_are_read() {
    let page = parse(concat!(
        "# HELP a_b java.lang:name=G1,type=MemoryPool\n# TYPE a_b untyped\n",
        "a_b{type=\"MemoryPool\",} 1.8874368E7\r\n",
        "a_b{logDirectory=\"\\\"/var/lib/kafka\\\"\",x=\"a\\\\n\\nb\"} 0.0\n",
        "a_b 4 1700000000000\n",
        "  a_b { x = \"\" , } NaN\t1700000000000 # {trace=\"1\"} 3\n",
        "\n# EOF\n#comment\n#\n# HELPLESS\n",
    ));
    let samples: Vec<_> = page.samples().collect();
    let texts: Vec<_> = samples.iter().map(|sample| (sample.labels_text, sample.value_text)).collect();
    let quoted = r#"logDirectory="\"/var/lib/kafka\"",x="a\\n\nb""#;
    assert_eq!(texts, [(r#"type="MemoryPool""#, "1.8874368E7"), (quoted, "0.0"), ("", "4"), (r#"x = """#, "NaN")]);
    assert_eq!(samples[0].value.to_bits(), 18_874_368_f64.to_bits());
    assert_eq!(samples[1].label("logDirectory").as_deref(), Some("\"/var/lib/kafka\""));
    assert_eq!(samples[1].label("x").as_deref(), Some("a\\n\nb"));
    assert_eq!(samples[3].raw_labels().collect::<Vec<_>>(), [("x", "")]);
    assert!(samples[3].value.is_nan());
    let families: Vec<_> = page.families().collect();
    let help = Some("java.lang:name=G1,type=MemoryPool");
    assert_eq!(families, [Family { name: "a_b", help, kind: Some(Kind::Untyped) }]);
}

#[test]
fn numbers_are_what_prometheus_reads() {
    for (text, want) in [("1", 1.0_f64), ("+5.", 5.0), (".5", 0.5), ("-1E-3", -0.001), ("1e5", 1e5), ("5e-400", 0.0)] {
        assert_eq!(parse(&format!("a {text}\n")).samples().next().unwrap().value.to_bits(), want.to_bits(), "{text}");
    }
    for (text, want) in [("+Inf", f64::INFINITY), ("-Inf", f64::NEG_INFINITY), ("Infinity", f64::INFINITY)] {
        assert_eq!(parse(&format!("a {text}\n")).samples().next().unwrap().value.to_bits(), want.to_bits(), "{text}");
    }
    for text in ["0x1p3", "1_000", "1e999", "1,5", "one", "", "1.2.3", "--1", "٣", "null", "1e", "."] {
        bad_value(text);
    }
    refused(&format!("a {}\n", "1".repeat(401)), 1, &Problem::Limit("bytes in a value", MAX_VALUE_BYTES));
}

#[test]
fn a_page_cut_anywhere_in_a_line_fails() {
    let page = "# TYPE a gauge\na{b=\"c\"} 12.5\na{b=\"d\"} 12.5\n";
    for end in 1..page.len() {
        let parsed = Exposition::parse(page[..end].to_owned());
        assert_eq!(parsed.is_ok(), page[..end].ends_with('\n'), "{:?}", &page[..end]);
    }
    refused(&page[..page.len() - 1], 3, &Problem::CutShort);
    assert_eq!(parse("").sample_count(), 0);
}

#[test]
fn one_malformed_line_fails_the_page() {
    for (line, problem) in [
        ("a", Problem::Name),
        ("1a 1", Problem::Name),
        ("a-b 1", Problem::Name),
        ("ä 1", Problem::Name),
        ("<html> 1", Problem::Name),
        ("{\"utf8.name\"} 1", Problem::Name),
        ("a{b=\"c\" 1", Problem::Labels),
        ("a{b=\"c} 1", Problem::Labels),
        ("a{b=c} 1", Problem::Labels),
        ("a{b} 1", Problem::Labels),
        ("a{,} 1", Problem::Labels),
        ("a{b=\"c\",,} 1", Problem::Labels),
        ("a{b=\"c\"d=\"e\"} 1", Problem::Labels),
        ("a{b:c=\"d\"} 1", Problem::Labels),
        ("a{\"b\"=\"d\"} 1", Problem::Labels),
        ("a{1b=\"d\"} 1", Problem::Labels),
        ("a{b=\"\\d\"} 1", Problem::Escape),
        ("a{b=\"\\", Problem::Escape),
        ("a{b=\"c\"}", Problem::Value),
        ("a 1 soon", Problem::Timestamp),
        ("a 1 2 3", Problem::Timestamp),
        ("# TYPE a", Problem::Type),
        ("# TYPE a number", Problem::Type),
        ("# TYPE a gauge gauge", Problem::Type),
        ("# TYPE 1a gauge", Problem::Type),
        ("# HELP", Problem::Help),
        ("# HELP a-b text", Problem::Help),
    ] {
        refused(&format!("x 1\n{line}\nx 2\n"), 2, &problem);
    }
    let error = Exposition::parse("a\u{1b}[2J 1\n".to_owned()).unwrap_err();
    assert_eq!(error.to_string(), "line 1: malformed metric name: a\\u{1b}[2J 1");
}

#[test]
fn a_sample_with_a_label_twice_is_left_out_and_counted() {
    let page = parse("a{b=\"1\",c=\"2\",b=\"1\"} 1\na{b=\"1\"} 2\n");
    assert_eq!((page.dropped(), page.samples().map(|sample| sample.value).collect::<Vec<_>>()), (1, vec![2.0]));
}

#[test]
fn interleaved_and_repeated_families_come_together() {
    let page = parse(concat!(
        "# TYPE b gauge\n# HELP b first\nb{x=\"1\"} 1\n# TYPE a counter\na 2\n# HELP b second\n# TYPE b counter\n",
        "b{x=\"0\"} 3\na 4\n# TYPE c unknown\n",
    ));
    let names: Vec<_> =
        page.names().map(|(name, samples)| (name, samples.map(|s| s.value).collect::<Vec<_>>())).collect();
    assert_eq!(names, [("a", vec![2.0, 4.0]), ("b", vec![1.0, 3.0])]);
    assert_eq!(page.samples_named("b").map(|sample| sample.value).collect::<Vec<_>>(), [1.0, 3.0]);
    assert_eq!(page.samples_named("c").count(), 0);
    let families: Vec<_> = page.families().map(|family| (family.name, family.help, family.kind.unwrap())).collect();
    assert_eq!(families, [("a", None, Kind::Counter), ("b", Some("first"), Kind::Untyped), ("c", None, Kind::Untyped)]);
    let positions: Vec<_> = page.samples().map(|sample| sample.position).collect();
    assert!(positions[2] < positions[0] && positions[0] < positions[3] && positions[3] < positions[1]);
}

#[test]
fn caps_hold() {
    let labels = |count| (0..count).map(|n| format!("l{n}=\"v\",")).collect::<String>();
    assert_eq!(parse(&format!("a{{{}}} 1\n", labels(MAX_LABELS))).sample_count(), 1);
    let many = format!("a{{{}}} 1\n", labels(MAX_LABELS + 1));
    refused(&many, 1, &Problem::Limit("labels in a sample", MAX_LABELS));
    let long = |count| format!("a{{b=\"{}\"}} 1\n", "v".repeat(count));
    assert_eq!(parse(&long(MAX_LABEL_VALUE_BYTES)).sample_count(), 1);
    refused(&long(MAX_LABEL_VALUE_BYTES + 1), 1, &Problem::Limit("bytes in a label value", MAX_LABEL_VALUE_BYTES));
    let name = format!("{} 1\n", "n".repeat(MAX_NAME_BYTES + 1));
    refused(&name, 1, &Problem::Limit("bytes in a name", MAX_NAME_BYTES));
    let name = format!("a{{{}=\"1\"}} 1\n", "n".repeat(MAX_NAME_BYTES + 1));
    refused(&name, 1, &Problem::Limit("bytes in a name", MAX_NAME_BYTES));
    let help = format!("# HELP a {}\n", "h".repeat(MAX_HELP_BYTES + 1));
    refused(&help, 1, &Problem::Limit("bytes in a help text", MAX_HELP_BYTES));
    let names: String = (0..=MAX_FAMILIES).map(|n| format!("a{n} 1\n")).collect();
    refused(&names, MAX_FAMILIES + 1, &Problem::Limit("names of samples", MAX_FAMILIES));
    let families: String = (0..=MAX_FAMILIES).map(|n| format!("# TYPE a{n} gauge\n")).collect();
    refused(&families, MAX_FAMILIES + 1, &Problem::Limit("families", MAX_FAMILIES));
    refused(&"a 1\n".repeat(MAX_SAMPLES + 1), MAX_SAMPLES + 1, &Problem::Limit("samples", MAX_SAMPLES));
}

#[test]
fn a_page_can_be_read_in_steps() {
    let text = "a 1\nb 2\nc 3\n".to_owned();
    let mut parser = Parser::new(&text).unwrap();
    assert!(!parser.advance(1).unwrap());
    assert!(!parser.advance(4).unwrap());
    assert!(parser.advance(1).unwrap());
    assert_eq!(parser.finish().with(text.clone()).samples().map(|s| s.value).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
}
