use super::*;

fn bloom() -> BloomFilter {
    BloomFilter::new(20, 32).unwrap()
}

fn open(dir: &Path) -> ConsumerFilterManager {
    ConsumerFilterManager::open(dir, bloom(), 1000).unwrap()
}

fn sql(topic: &str, expression: &str, sub_version: i64) -> SubscriptionData {
    SubscriptionData {
        topic: topic.to_owned(),
        sub_string: expression.to_owned(),
        expression_type: SQL92.to_owned(),
        sub_version,
        ..SubscriptionData::default()
    }
}

#[test]
fn consumers_come_change_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let filters = open(dir.path());
    let dead = |topic: &str| filters.get(topic, "G").unwrap().dead_time;
    filters.register("G", &[sql("T", "a = 1", 5), sql("U", "a = 1", 5)], 10);
    assert_eq!((dead("T"), dead("U")), (0, 0));
    // Older than what is known, and the same again.
    filters.register("G", &[sql("T", "a = 2", 4), sql("U", "a = 1", 5)], 11);
    let data = filters.get("T", "G").unwrap();
    assert_eq!((data.expression.as_str(), data.born_time, data.client_version), ("a = 1", 10, 5));
    // A newer version of the same keeps its birth; a newer expression is born anew; what is left out is dead.
    filters.register("G", &[sql("T", "a = 1", 6)], 12);
    let data = filters.get("T", "G").unwrap();
    assert_eq!((data.born_time, data.client_version, dead("U")), (10, 6, 12));
    filters.register("G", &[sql("T", "a = 2", 7), sql("U", "a = 1", 5)], 13);
    let data = filters.get("T", "G").unwrap();
    assert_eq!((data.expression.as_str(), data.born_time, dead("U")), ("a = 2", 13, 0));
    assert!(data.matches("a\u{1}2\u{2}") && !data.matches("a\u{1}1\u{2}") && !data.matches(""));
    filters.unregister("G", 20);
    assert_eq!((dead("T"), dead("U")), (20, 20));
    // A newer one that cannot be read takes the old one's place by nothing.
    filters.register("G", &[sql("T", "a = ", 8)], 21);
    assert!(filters.get("T", "G").is_none() && filters.get("U", "G").is_some());
    filters.register("G", &[SubscriptionData { topic: "T".to_owned(), ..SubscriptionData::default() }], 22);
    assert!(filters.get("T", "G").is_none());
    // Kept for a day, as it were.
    filters.persist(119, 100);
    assert!(filters.get("U", "G").is_some());
    filters.persist(120, 100);
    assert!(filters.get("U", "G").is_none());
}

#[test]
fn the_file_is_javas_and_survives() {
    let dir = tempfile::tempdir().unwrap();
    let filters = open(dir.path());
    filters.register("G", &[sql("T", "a = 'x'", 5)], 10);
    filters.persist(10, 100);
    let text = std::fs::read_to_string(dir.path().join("config/consumerFilter.json")).unwrap();
    let positions = bloom().positions("G#T");
    let expect = format!(
        concat!(
            r#"{{"filterDataByTopic":{{"T":{{"groupFilterData":{{"G":{{"bloomFilterData":{{"bitNum":112,"bitPos":[{}]}},"#,
            r#""bornTime":10,"clientVersion":5,"consumerGroup":"G","dead":false,"deadTime":0,"expression":"a = 'x'","#,
            r#""expressionType":"SQL92","topic":"T"}}}},"topic":"T"}}}}}}"#
        ),
        positions.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
    );
    assert_eq!(text, expect);
    // All consumers are gone when a broker starts.
    let filters = ConsumerFilterManager::open(dir.path(), bloom(), 40_000).unwrap();
    let data = filters.get("T", "G").unwrap();
    assert_eq!((data.dead_time, data.matches("a\u{1}x\u{2}"), data.matches("a\u{1}y\u{2}")), (10_000, true, false));
    filters.register("G", &[sql("T", "a = 'x'", 5)], 41_000);
    assert_eq!(filters.get("T", "G").unwrap().dead_time, 0);
    // Bits of another filter are of no use, nor is what belongs to them.
    let other = BloomFilter::new(10, 32).unwrap();
    assert!(ConsumerFilterManager::open(dir.path(), other, 40_000).unwrap().get("T", "G").is_none());
    // The file as Java writes it, and one with an expression that nobody can read.
    let java = text.replace("a = 'x'", "a = ").replace(',', ",\n\t\t");
    std::fs::write(dir.path().join("config/consumerFilter.json"), java).unwrap();
    assert!(open(dir.path()).get("T", "G").unwrap().matches(""), "what cannot be read does not filter");
    std::fs::write(dir.path().join("config/consumerFilter.json"), "{").unwrap();
    assert!(ConsumerFilterManager::open(dir.path(), bloom(), 0).is_err());
}

#[test]
fn bits_stand_for_those_who_want_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let filters = open(dir.path());
    assert_eq!(filters.bit_map("T", "a\u{1}1\u{2}"), Vec::<u8>::new());
    filters.register("G", &[sql("T", "a = 1", 5)], 10);
    filters.register("H", &[sql("T", "a = 2", 5)], 10);
    filters.register("K", &[sql("T", "a > 'x' OR", 5)], 10);
    for (properties, for_g, for_h) in [("a\u{1}1", true, false), ("a\u{1}2", false, true), ("", false, false)] {
        let map = filters.bit_map("T", properties);
        assert_eq!(map.len(), 14);
        let has = |group: &str| {
            let data = filters.get("T", group).unwrap();
            BloomFilter::is_hit(&map, &data.bloom_filter_data.as_ref().unwrap().bit_pos)
        };
        assert_eq!((has("G"), has("H")), (for_g, for_h), "{properties}");
    }
}
