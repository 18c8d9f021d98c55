//! Flag syntax, case by case.

use super::*;

const NAME: Flag = Flag {
    name: "name",
    kind: Kind::Text("anon"),
    value: "NAME",
    doc: &["A name."],
};
const COUNT: Flag = Flag {
    name: "n",
    kind: Kind::Int(8),
    value: "N",
    doc: &[],
};
const EVERY: Flag = Flag {
    name: "every",
    kind: Kind::Duration(1_000_000_000),
    value: "D",
    doc: &[],
};
const TABLE: &[Flag] = &[NAME, COUNT, EVERY, JSON];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn parsed(line: &[&str]) -> Parsed {
    match parse(TABLE, &words(line)).unwrap() {
        Outcome::Parsed(parsed) => parsed,
        Outcome::Help => panic!("help"),
    }
}

fn message(line: &[&str]) -> String {
    parse(TABLE, &words(line)).unwrap_err().to_string()
}

#[test]
fn one_or_two_dashes_and_equals_are_the_same() {
    for line in [
        &["-name", "x"][..],
        &["-name=x"],
        &["--name", "x"],
        &["--name=x"],
        &["-name", "y", "-name=x"],
    ] {
        assert_eq!(parsed(line).text(&NAME), "x", "{line:?}");
    }
    assert_eq!(parsed(&[]).text(&NAME), "anon");
}

#[test]
fn a_bool_takes_its_value_only_inline() {
    assert!(parsed(&["-json"]).bool(&JSON));
    assert!(!parsed(&["-json=F"]).bool(&JSON));
    let with_word = parsed(&["-json", "false"]);
    assert!(with_word.bool(&JSON));
    assert_eq!(with_word.args, ["false"]);
}

#[test]
fn flags_end_at_the_first_positional_or_double_dash() {
    assert_eq!(parsed(&["a", "-json"]).args, ["a", "-json"]);
    assert_eq!(parsed(&["--", "-json"]).args, ["-json"]);
    assert_eq!(parsed(&["-", "x"]).args, ["-", "x"]);
    assert_eq!(parsed(&["", "x"]).args, ["", "x"]);
}

#[test]
fn integers_know_their_base() {
    for (text, value) in [
        ("10", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 15),
        ("0b11", 3),
        ("1_000", 1000),
        ("0x_f", 15),
        ("-5", -5),
        ("0", 0),
        ("-9223372036854775808", i64::MIN),
    ] {
        assert_eq!(parsed(&["-n", text]).int(&COUNT), value, "{text}");
    }
    for text in [
        "",
        "x",
        "08",
        "1__0",
        "_1",
        "1_",
        "0x",
        "1.5",
        "9223372036854775808",
        "+-1",
    ] {
        assert_eq!(
            message(&["-n", text]),
            format!("invalid value \"{text}\" for flag -n: parse error")
        );
    }
}

#[test]
fn durations_have_units() {
    assert_eq!(
        parsed(&["-every", "1m"]).duration(&EVERY).to_string(),
        "1m0s"
    );
    assert_eq!(parsed(&[]).duration(&EVERY).to_string(), "1s");
    assert_eq!(
        message(&["-every=5"]),
        "invalid value \"5\" for flag -every: parse error"
    );
}

#[test]
fn errors_name_the_flag() {
    assert_eq!(message(&["---x"]), "bad flag syntax: ---x");
    assert_eq!(message(&["-=x"]), "bad flag syntax: -=x");
    assert_eq!(message(&["-x=1"]), "flag provided but not defined: -x");
    assert_eq!(message(&["-name"]), "flag needs an argument: -name");
    assert_eq!(
        message(&["-json=maybe"]),
        "invalid boolean value \"maybe\" for -json: parse error"
    );
}

#[test]
fn help_is_recognised_before_positionals_only() {
    for line in [
        &["-h"][..],
        &["--help"],
        &["-json", "-help"],
        &["--h"],
        &["-h=false"],
    ] {
        assert!(
            matches!(parse(TABLE, &words(line)), Ok(Outcome::Help)),
            "{line:?}"
        );
    }
    assert_eq!(parsed(&["a", "-h"]).args, ["a", "-h"]);
}

#[test]
fn help_text_lists_each_flag_with_its_lines() {
    let help = Help {
        summary: &["Does nothing."],
        usage: &["nothing [arguments]"],
        notes: &[],
        examples: &[("Nothing.", "nothing -n 1")],
    };
    assert_eq!(
        help.render(&[NAME, CONFIG], "/q.yml"),
        "Does nothing.\n\nUsage:\n\n\tlitestream nothing [arguments]\n\nArguments:\n\n\t-name NAME\n\t    A name.\n\n\t-config PATH\n\t    Configuration file to read.\n\t    Defaults to /q.yml\n\nExamples:\n\n\t# Nothing.\n\t$ litestream nothing -n 1\n\n"
    );
}
