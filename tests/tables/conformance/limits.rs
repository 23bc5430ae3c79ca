//! What a store takes at most, and what it refuses.

use super::*;

pub async fn text_at_its_limit(store: &dyn TableStore) {
    for unit in ["x", "é", "\u{1F600}", "\""] {
        let text = unit.repeat(TEXT_LIMIT / unit.encode_utf16().count());
        let row = wide("limit", Property::from(text.clone()));
        store.put(TABLE, &row, &Put::Upsert).await.unwrap();
        assert_eq!(read(store, "p", "limit").await.unwrap().row, row, "{unit:?}");
        let over = wide("over", Property::from(format!("{text}x")));
        for mode in [Put::Create, Put::Upsert, Put::Replace(Etag("W/\"1\"".into()))] {
            assert_eq!(kind(store.put(TABLE, &over, &mode).await), "invalid", "{unit:?} {mode:?}");
        }
    }
    assert_eq!(read(store, "p", "over").await, None);
}

pub async fn many_properties(store: &dyn TableStore) {
    let with = |count: usize| Row {
        key: Key::new("p", "r"),
        properties: (0..count).map(|n| (format!("P{n}"), Property::from(true))).collect(),
    };
    create(store, &with(PROPERTIES_LIMIT)).await;
    assert_eq!(read(store, "p", "r").await.unwrap().row, with(PROPERTIES_LIMIT));
    assert_eq!(kind(store.put(TABLE, &with(PROPERTIES_LIMIT + 1), &Put::Upsert).await), "invalid");
    for name in ["RowKey", "odata.type", "A@odata.type", "", "a b"] {
        let row = Row { key: Key::new("p", "q"), properties: [(name.to_owned(), true.into())].into() };
        assert_eq!(kind(store.put(TABLE, &row, &Put::Create).await), "invalid", "{name:?}");
    }
}

pub async fn a_row_at_its_limit(store: &dyn TableStore) {
    let with = |count: usize| Row {
        key: Key::new("p", "r"),
        properties: (0..count).map(|n| (format!("P{n}"), Property::from("x".repeat(TEXT_LIMIT)))).collect(),
    };
    create(store, &with(15)).await;
    assert_eq!(read(store, "p", "r").await.unwrap().row, with(15));
    assert_eq!(kind(store.put(TABLE, &with(16), &Put::Upsert).await), "invalid");
}

pub async fn hostile_keys_and_bounds_are_refused(store: &dyn TableStore) {
    create(store, &row("p", "r", "x")).await;
    let long = "x".repeat(513);
    let hostile =
        ["", "a'b", "'", "%27", "a/b", "..//", "a\\b", "#", "?", "a b", "a\tb", "a\0b", "é", "\u{1F600}", &long];
    for bad in hostile {
        for key in [Key::new("p", bad), Key::new(bad, "r")] {
            let row = Row { key: key.clone(), properties: Properties::new() };
            assert_eq!(kind(store.get(TABLE, &key).await), "invalid", "{bad:?}");
            assert_eq!(kind(store.put(TABLE, &row, &Put::Upsert).await), "invalid", "{bad:?}");
            assert_eq!(kind(store.delete(TABLE, &key, &When::Any).await), "invalid", "{bad:?}");
            assert_eq!(kind(store.commit(TABLE, &[Operation::Put(row, Put::Create)]).await), "invalid", "{bad:?}");
        }
        assert_eq!(kind(store.scan(TABLE, &Range::new(bad, "a", "b"), 1).await), "invalid", "{bad:?}");
    }
    for bad in ["a' or RowKey ne 'b", "\"", "a\0", "é"] {
        assert_eq!(kind(store.scan(TABLE, &Range::new("p", bad, "z"), 1).await), "invalid", "{bad:?}");
        assert_eq!(kind(store.scan(TABLE, &Range::new("p", "a", bad), 1).await), "invalid", "{bad:?}");
    }
    assert_eq!(names(store, &Range::new("p", "", "~")).await, ["r"]);
}

pub async fn keys_of_the_whole_alphabet(store: &dyn TableStore) {
    let alphabet: String = (' '..='~').filter(|c| c.is_ascii_alphanumeric() || "_-.:@~".contains(*c)).collect();
    let longest = alphabet.chars().cycle().take(512).collect::<String>();
    for key in [alphabet.as_str(), &longest, ".", "..", "~", ":@", "-"] {
        let stored = row(key, key, "x");
        let etag = create(store, &stored).await;
        assert_eq!(read(store, key, key).await.map(|found| found.row), Some(stored.clone()), "{key}");
        let range = Range::new(key, key, "~~");
        assert_eq!(names(store, &range).await, [key], "{key}");
        let etag = store.put(TABLE, &stored, &Put::Replace(etag)).await.unwrap();
        let batch = [Operation::Put(stored, Put::Replace(etag))];
        let etag = store.commit(TABLE, &batch).await.unwrap().remove(0).unwrap();
        store.commit(TABLE, &[Operation::Delete(Key::new(key, key), When::Matches(etag))]).await.unwrap();
        assert_eq!(read(store, key, key).await, None, "{key}");
    }
}
