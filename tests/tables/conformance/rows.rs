//! One row: written, read, replaced, removed, and the tags that tell its versions apart.

use super::*;

pub async fn a_row_reads_back_as_written(store: &dyn TableStore) {
    let properties: Properties = [
        ("Text", Property::from("O'Brien \"\\ \u{1F600} é \n\t%27")),
        ("Empty", Property::from("")),
        ("Yes", true.into()),
        ("No", false.into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let row = Row { key: Key::new("p", "r"), properties };
    let etag = create(store, &row).await;
    assert_eq!(read(store, "p", "r").await, Some(Stored { row, etag }));
    let bare = Row { key: Key::new("p", "bare"), properties: Properties::new() };
    let etag = create(store, &bare).await;
    assert_eq!(read(store, "p", "bare").await, Some(Stored { row: bare, etag }));
}

pub async fn a_missing_row_is_none(store: &dyn TableStore) {
    for table in Table::ALL {
        assert_eq!(store.get(table, &Key::new("p", "r")).await.unwrap(), None, "{table}");
        let page = store.scan(table, &Range::new("p", "", "~"), 10).await.unwrap();
        assert_eq!(page, Page { rows: Vec::new(), next: None }, "{table}");
    }
}

pub async fn tables_and_partitions_are_apart(store: &dyn TableStore) {
    create(store, &row("p", "r", "one")).await;
    create(store, &row("p2", "r", "two")).await;
    store.put(Table::Users, &row("p", "r", "three"), &Put::Create).await.unwrap();
    store.delete(TABLE, &Key::new("p", "r"), &When::Any).await.unwrap();
    assert_eq!(read(store, "p", "r").await, None);
    assert_eq!(read(store, "p2", "r").await.unwrap().row, row("p2", "r", "two"));
    assert_eq!(store.get(Table::Users, &Key::new("p", "r")).await.unwrap().unwrap().row, row("p", "r", "three"));
}

pub async fn create_twice(store: &dyn TableStore) {
    let etag = create(store, &row("p", "r", "first")).await;
    assert_eq!(kind(store.put(TABLE, &row("p", "r", "second"), &Put::Create).await), "already exists");
    assert_eq!(read(store, "p", "r").await, Some(Stored { row: row("p", "r", "first"), etag }));
}

pub async fn replace_stale_and_missing(store: &dyn TableStore) {
    let first = create(store, &row("p", "r", "first")).await;
    let second = store.put(TABLE, &row("p", "r", "second"), &Put::Replace(first.clone())).await.unwrap();
    let stale = store.put(TABLE, &row("p", "r", "third"), &Put::Replace(first.clone())).await;
    assert_eq!(kind(stale), "precondition");
    assert_eq!(read(store, "p", "r").await, Some(Stored { row: row("p", "r", "second"), etag: second.clone() }));
    assert_eq!(kind(store.put(TABLE, &row("p", "q", "x"), &Put::Replace(second.clone())).await), "not found");
    assert_eq!(read(store, "p", "q").await, None);
    // A row that was made anew is not the row that was read.
    store.delete(TABLE, &Key::new("p", "r"), &When::Any).await.unwrap();
    create(store, &row("p", "r", "second")).await;
    assert_eq!(kind(store.put(TABLE, &row("p", "r", "third"), &Put::Replace(second)).await), "precondition");
}

pub async fn a_replacement_drops_what_it_does_not_name(store: &dyn TableStore) {
    let mut old = row("p", "r", "first");
    old.properties.insert("Extra".into(), true.into());
    let etag = create(store, &old).await;
    store.put(TABLE, &row("p", "r", "second"), &Put::Replace(etag)).await.unwrap();
    assert_eq!(read(store, "p", "r").await.unwrap().row, row("p", "r", "second"));
    store.put(TABLE, &old, &Put::Upsert).await.unwrap();
    store.put(TABLE, &row("p", "r", "third"), &Put::Upsert).await.unwrap();
    assert_eq!(read(store, "p", "r").await.unwrap().row, row("p", "r", "third"));
}

pub async fn upsert(store: &dyn TableStore) {
    let first = store.put(TABLE, &row("p", "r", "first"), &Put::Upsert).await.unwrap();
    assert_eq!(read(store, "p", "r").await, Some(Stored { row: row("p", "r", "first"), etag: first.clone() }));
    let second = store.put(TABLE, &row("p", "r", "second"), &Put::Upsert).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(read(store, "p", "r").await, Some(Stored { row: row("p", "r", "second"), etag: second }));
}

pub async fn delete_missing_stale_and_any(store: &dyn TableStore) {
    let key = Key::new("p", "r");
    assert_eq!(kind(store.delete(TABLE, &key, &When::Any).await), "not found");
    let first = create(store, &row("p", "r", "first")).await;
    let second = store.put(TABLE, &row("p", "r", "second"), &Put::Upsert).await.unwrap();
    assert_eq!(kind(store.delete(TABLE, &key, &When::Matches(first.clone())).await), "precondition");
    assert_eq!(read(store, "p", "r").await.unwrap().etag, second);
    store.delete(TABLE, &key, &When::Matches(second)).await.unwrap();
    assert_eq!(read(store, "p", "r").await, None);
    assert_eq!(kind(store.delete(TABLE, &key, &When::Matches(first)).await), "not found");
    create(store, &row("p", "r", "third")).await;
    store.delete(TABLE, &key, &When::Any).await.unwrap();
    assert_eq!(read(store, "p", "r").await, None);
}

/// A client may send any text as a tag: it must neither match, nor break the request, nor add headers to it.
pub async fn tags_of_other_stores_match_nothing(store: &dyn TableStore) {
    let etag = create(store, &row("p", "r", "first")).await;
    let unlike = ["", "*", "W/\"*\"", "\"1\"", "W/\"datetime'x'\"\r\nX: y", "W/\"zz\"", "é", "W/\"datetime'a b'\""];
    for text in unlike {
        let tag = Etag(text.to_owned());
        let replace = Put::Replace(tag.clone());
        assert_eq!(kind(store.put(TABLE, &row("p", "r", "x"), &replace).await), "precondition", "{text:?}");
        assert_eq!(kind(store.put(TABLE, &row("p", "q", "x"), &replace).await), "not found", "{text:?}");
        let matches = When::Matches(tag);
        assert_eq!(kind(store.delete(TABLE, &Key::new("p", "r"), &matches).await), "precondition", "{text:?}");
        let batch = [Operation::Put(row("p", "s", "s"), Put::Create), Operation::Put(row("p", "r", "x"), replace)];
        assert_eq!(kind(store.commit(TABLE, &batch).await), "precondition", "{text:?}");
        let batch = [Operation::Delete(Key::new("p", "q"), matches)];
        assert_eq!(kind(store.commit(TABLE, &batch).await), "not found", "{text:?}");
    }
    assert_eq!(names(store, &Range::new("p", "", "~")).await, ["r"]);
    assert_eq!(read(store, "p", "r").await.unwrap().etag, etag);
}

pub async fn every_write_changes_the_tag(store: &dyn TableStore) {
    let same = row("p", "r", "same");
    let mut tags = vec![create(store, &same).await];
    for _ in 0..200 {
        tags.push(store.put(TABLE, &same, &Put::Upsert).await.unwrap());
        let last = tags[tags.len() - 1].clone();
        tags.push(store.put(TABLE, &same, &Put::Replace(last)).await.unwrap());
    }
    assert_eq!(read(store, "p", "r").await.unwrap().etag, tags[tags.len() - 1]);
    let distinct: BTreeSet<&str> = tags.iter().map(|tag| tag.0.as_str()).collect();
    assert_eq!(distinct.len(), tags.len());
}

pub async fn a_tag_is_never_given_twice(store: &dyn TableStore) {
    let key = Key::new("p", "r");
    let mut tags = BTreeSet::new();
    for _ in 0..50 {
        let etag = create(store, &row("p", "r", "again")).await;
        store.delete(TABLE, &key, &When::Any).await.unwrap();
        assert!(tags.insert(etag.0));
    }
}

pub async fn typed_properties_keep_their_types(store: &dyn TableStore) {
    let typed = |edm: &str, text: &str| Property::Typed { edm: edm.into(), text: text.into() };
    let properties: Properties = [
        ("Int32", Property::Int32(i32::MIN)),
        ("Int64", Property::Int64(i64::MAX)),
        ("Small64", Property::Int64(1)),
        ("Double", Property::Double(0.1 + 0.2)),
        ("Whole", Property::Double(2.0)),
        ("Tiny", Property::Double(5e-324)),
        ("Infinite", Property::Double(f64::INFINITY)),
        ("Guid", typed("Edm.Guid", "4185404a-5818-48c3-b9be-f217df0dba6f")),
        ("Time", typed("Edm.DateTime", "2026-01-02T03:04:05.6780000Z")),
        ("Binary", typed("Edm.Binary", "AAEC/w==")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let row = Row { key: Key::new("p", "r"), properties };
    let etag = create(store, &row).await;
    assert_eq!(read(store, "p", "r").await.unwrap().row, row);
    store.put(TABLE, &row, &Put::Replace(etag)).await.unwrap();
    let scanned = scan_all(store, TABLE, &Range::new("p", "", "~")).await.unwrap();
    assert_eq!(scanned[0].row, row);
    let unknown = wide("unknown", typed("Edm.Decimal", "1"));
    assert_eq!(kind(store.put(TABLE, &unknown, &Put::Create).await), "invalid");
}
