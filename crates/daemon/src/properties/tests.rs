use super::*;

fn check(text: &str, expect: &[(&str, &str)]) {
    let read = Properties::from_text(text, "test").unwrap();
    let pairs: Vec<_> = read.entries().iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
    assert_eq!(pairs, expect, "{text:?}");
}

#[test]
fn separators_and_comments() {
    check("a=1\nb:2\nc 3\nd = 4\n e\t:\t5", &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")]);
    check("# a=1\n ! b=2\n\n\t\nc=#3", &[("c", "#3")]);
    check("key\nempty=\n=x", &[("key", ""), ("empty", ""), ("", "x")]);
    check("a=b=c:d e", &[("a", "b=c:d e")]);
    check("a=1\r\nb=2\rc=3", &[("a", "1"), ("b", "2"), ("c", "3")]);
}

#[test]
fn continuations() {
    check("a=1,\\\n   2,\\\n\t3\nb=4", &[("a", "1,2,3"), ("b", "4")]);
    check("a=1\\\\\nb=2", &[("a", "1\\"), ("b", "2")]);
    check("# comment \\\na=1", &[("a", "1")]);
    check("a=1\\", &[("a", "1")]);
}

#[test]
fn escapes() {
    check("a\\ b\\=c=d\\te\\u0041\\q", &[("a b=c", "d\teAq")]);
    check("a=\\ud83d\\ude00", &[("a", "\u{1F600}")]);
    let wrong = Properties::from_text("x=1\n\ny=\\u12g4", "broker.conf").unwrap_err().to_string();
    assert!(wrong.starts_with("broker.conf:3: \\u12g4 is not"), "{wrong}");
    assert!(Properties::from_text("y=\\u1", "f").is_err());
}

#[test]
fn bytes_are_utf8_or_latin1() {
    assert_eq!(decode("\u{feff}a=ü".as_bytes()), "a=ü");
    assert_eq!(decode(b"a=\xfc"), "a=ü");
}

#[test]
fn what_is_written_is_read_back() {
    for (key, value) in [("a", "b"), ("a b", " c "), ("#a:=", "x\\y\n\tz"), ("k", "\u{1F600} ü"), ("", "")] {
        check(&entry_line(key, value), &[(key, value)]);
    }
}

#[test]
fn edit_keeps_everything_else() {
    let text = "# top\nbrokerName = a\n\nlist=1,\\\n  2\nbrokerName=b\nunknown=x";
    let changes = [("brokerName", "c"), ("new", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(edit(text, &changes), "# top\nbrokerName=c\n\nlist=1,\\\n  2\nunknown=x\nnew=1\n");
}

#[test]
fn toml_flat_and_grouped() {
    let text = "brokerName = \"a\"\n[store]\nfileReservedTime = 48\ncleanFileForciblyEnable = false\n";
    let read = Properties::from_toml(text, "b.toml").unwrap();
    assert_eq!(read.get("brokerName"), Some("a"));
    assert_eq!(read.get("fileReservedTime"), Some("48"));
    assert_eq!(read.get("cleanFileForciblyEnable"), Some("false"));
    assert_eq!(read.entries().iter().find(|e| e.key == "fileReservedTime").unwrap().line, 3);

    let wrong = Properties::from_toml("a = 1\nb = = 2", "b.toml").unwrap_err().to_string();
    assert!(wrong.starts_with("b.toml:2: "), "{wrong}");
    let wrong = Properties::from_toml("a = 1\nb = [1]", "b.toml").unwrap_err().to_string();
    assert!(wrong.starts_with("b.toml:2: b is a array"), "{wrong}");
    assert!(Properties::from_toml("[a.b]\nc = 1", "b.toml").is_err());
    assert_eq!(Properties::from_toml(&toml_line("k", "a\"b\\c"), "x").unwrap().get("k"), Some("a\"b\\c"));
}

#[test]
fn a_file_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.conf");
    std::fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).unwrap();
    assert!(Properties::from_file(&path).unwrap_err().to_string().contains("larger than 1048576 bytes"));
    let missing = Properties::from_file(&dir.path().join("none.conf")).unwrap_err().to_string();
    assert!(missing.contains("none.conf"), "{missing}");
}
