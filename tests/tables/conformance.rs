//! What every table store does. Each case is a plain function on a store of its own that is empty.

use std::collections::BTreeSet;

use crosswalk::tables::{
    BATCH_LIMIT, Etag, Key, Operation, PROPERTIES_LIMIT, Page, Properties, Property, Put, Range, Row, Stored,
    TEXT_LIMIT, Table, TableError, TableStore, When, scan_all,
};
use futures::{TryStreamExt, future::join_all};

/// Makes a test of every case, each on a store that the expression makes.
macro_rules! cases {
    ($($case:ident)*) => {
        macro_rules! run_on {
            ($store:expr) => {
                $(
                    #[tokio::test]
                    async fn $case() {
                        let store = $store;
                        $crate::conformance::$case(&store).await;
                    }
                )*
            };
        }
        pub(crate) use run_on;
    };
}

cases! {
    a_row_reads_back_as_written
    a_missing_row_is_none
    tables_and_partitions_are_apart
    create_twice
    replace_stale_and_missing
    a_replacement_drops_what_it_does_not_name
    upsert
    delete_missing_stale_and_any
    tags_of_other_stores_match_nothing
    every_write_changes_the_tag
    a_tag_is_never_given_twice
    batch_of_every_operation
    batch_is_all_or_nothing
    batch_names_the_first_failure
    batch_sizes
    batch_refuses_a_row_twice_and_two_partitions
    batch_of_large_rows
    scan_in_order_within_half_open_bounds
    scan_beside_prefixes
    pages_fit_together
    pages_survive_deletes_and_inserts
    scan_limits
    text_at_its_limit
    many_properties
    a_row_at_its_limit
    typed_properties_keep_their_types
    hostile_keys_and_bounds_are_refused
    keys_of_the_whole_alphabet
    one_of_many_creates_wins
    one_of_many_replaces_wins
    one_of_many_batches_wins
    concurrent_upserts_and_deletes_settle
    scan_table_sees_everything
}

const TABLE: Table = Table::OrgIntegrationMappings;

fn row(partition: &str, row: &str, name: &str) -> Row {
    Row { key: Key::new(partition, row), properties: [("Name".to_owned(), Property::from(name))].into() }
}

fn wide(key: &str, property: Property) -> Row {
    Row { key: Key::new("p", key), properties: [("Value".to_owned(), property)].into() }
}

async fn create(store: &dyn TableStore, row: &Row) -> Etag {
    store.put(TABLE, row, &Put::Create).await.unwrap()
}

async fn read(store: &dyn TableStore, partition: &str, row: &str) -> Option<Stored> {
    store.get(TABLE, &Key::new(partition, row)).await.unwrap()
}

async fn names(store: &dyn TableStore, range: &Range) -> Vec<String> {
    scan_all(store, TABLE, range).await.unwrap().into_iter().map(|stored| stored.row.key.row).collect()
}

/// The variant of an error, to compare.
fn kind<T>(result: Result<T, TableError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(TableError::NotFound) => "not found",
        Err(TableError::AlreadyExists) => "already exists",
        Err(TableError::Precondition) => "precondition",
        Err(TableError::Invalid(_)) => "invalid",
        Err(TableError::Unavailable { reason, .. }) => panic!("unavailable: {reason}"),
    }
}

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

pub async fn batch_of_every_operation(store: &dyn TableStore) {
    let replaced = create(store, &row("p", "replaced", "old")).await;
    let deleted = create(store, &row("p", "deleted", "old")).await;
    create(store, &row("p", "any", "old")).await;
    create(store, &row("p", "upserted", "old")).await;
    let batch = [
        Operation::Put(row("p", "created", "new \u{1F600} \r\n--changesetresponse_ HTTP/1.1 404"), Put::Create),
        Operation::Put(row("p", "replaced", "new"), Put::Replace(replaced)),
        Operation::Delete(Key::new("p", "deleted"), When::Matches(deleted)),
        Operation::Put(row("p", "upserted", "new"), Put::Upsert),
        Operation::Put(row("p", "upserted2", "new"), Put::Upsert),
        Operation::Delete(Key::new("p", "any"), When::Any),
    ];
    let tags = store.commit(TABLE, &batch).await.unwrap();
    assert_eq!(tags.len(), batch.len());
    for (operation, tag) in batch.iter().zip(tags) {
        let found = store.get(TABLE, operation.key()).await.unwrap();
        match operation {
            Operation::Put(row, _) => assert_eq!(found, Some(Stored { row: row.clone(), etag: tag.unwrap() })),
            Operation::Delete(..) => assert_eq!((found, tag), (None, None)),
        }
    }
}

pub async fn batch_is_all_or_nothing(store: &dyn TableStore) {
    create(store, &row("p", "there", "old")).await;
    let stale = create(store, &row("p", "changed", "old")).await;
    create(store, &row("p", "doomed", "old")).await;
    store.put(TABLE, &row("p", "changed", "newer"), &Put::Upsert).await.unwrap();
    let before = scan_all(store, TABLE, &Range::new("p", "", "~")).await.unwrap();
    let failures = [
        (Operation::Put(row("p", "there", "x"), Put::Create), "already exists"),
        (Operation::Put(row("p", "changed", "x"), Put::Replace(stale.clone())), "precondition"),
        (Operation::Put(row("p", "gone", "x"), Put::Replace(stale.clone())), "not found"),
        (Operation::Delete(Key::new("p", "changed"), When::Matches(stale.clone())), "precondition"),
        (Operation::Delete(Key::new("p", "gone"), When::Matches(stale)), "not found"),
        (Operation::Delete(Key::new("p", "gone"), When::Any), "not found"),
        (Operation::Put(wide("long", "x".repeat(TEXT_LIMIT + 1).into()), Put::Upsert), "invalid"),
    ];
    for (last, expected) in failures {
        let batch = [
            Operation::Put(row("p", "a", "new"), Put::Create),
            Operation::Put(row("p", "b", "new"), Put::Upsert),
            Operation::Delete(Key::new("p", "doomed"), When::Any),
            last,
        ];
        assert_eq!(kind(store.commit(TABLE, &batch).await), expected, "{:?}", batch[3]);
        let after = scan_all(store, TABLE, &Range::new("p", "", "~")).await.unwrap();
        assert_eq!(after, before, "{:?}", batch[3]);
    }
}

pub async fn batch_names_the_first_failure(store: &dyn TableStore) {
    let stale = create(store, &row("p", "r", "old")).await;
    store.put(TABLE, &row("p", "r", "newer"), &Put::Upsert).await.unwrap();
    create(store, &row("p", "there", "old")).await;
    let missing = Operation::Delete(Key::new("p", "gone"), When::Any);
    let exists = Operation::Put(row("p", "there", "x"), Put::Create);
    let changed = Operation::Put(row("p", "r", "x"), Put::Replace(stale));
    let fine = Operation::Put(row("p", "fine", "x"), Put::Create);
    let commit = async |batch: [&Operation; 4]| kind(store.commit(TABLE, &batch.map(Clone::clone)).await);
    assert_eq!(commit([&fine, &missing, &exists, &changed]).await, "not found");
    assert_eq!(commit([&fine, &exists, &changed, &missing]).await, "already exists");
    assert_eq!(commit([&fine, &changed, &missing, &exists]).await, "precondition");
}

pub async fn batch_sizes(store: &dyn TableStore) {
    let puts = |count: usize| -> Vec<Operation> {
        (0..count).map(|n| Operation::Put(row("p", &format!("{n:03}"), "x"), Put::Upsert)).collect()
    };
    assert_eq!(kind(store.commit(TABLE, &[]).await), "invalid");
    assert_eq!(store.commit(TABLE, &puts(1)).await.unwrap().len(), 1);
    let tags = store.commit(TABLE, &puts(BATCH_LIMIT)).await.unwrap();
    let rows = scan_all(store, TABLE, &Range::new("p", "", "~")).await.unwrap();
    let read: Vec<Option<Etag>> = rows.into_iter().map(|stored| Some(stored.etag)).collect();
    assert_eq!(read, tags);
    assert_eq!(kind(store.commit(TABLE, &puts(BATCH_LIMIT + 1)).await), "invalid");
    let deletes: Vec<Operation> =
        puts(BATCH_LIMIT).iter().map(|put| Operation::Delete(put.key().clone(), When::Any)).collect();
    assert_eq!(store.commit(TABLE, &deletes).await.unwrap(), vec![None; BATCH_LIMIT]);
    assert_eq!(names(store, &Range::new("p", "", "~")).await, [""; 0]);
}

pub async fn batch_refuses_a_row_twice_and_two_partitions(store: &dyn TableStore) {
    let put = |partition: &str, key: &str| Operation::Put(row(partition, key, "x"), Put::Upsert);
    let delete = Operation::Delete(Key::new("p", "a"), When::Any);
    assert_eq!(kind(store.commit(TABLE, &[put("p", "a"), put("p", "a")]).await), "invalid");
    assert_eq!(kind(store.commit(TABLE, &[put("p", "a"), delete]).await), "invalid");
    assert_eq!(kind(store.commit(TABLE, &[put("p", "a"), put("q", "a")]).await), "invalid");
    assert_eq!(names(store, &Range::new("p", "", "~")).await, [""; 0]);
}

pub async fn batch_of_large_rows(store: &dyn TableStore) {
    let put = |n: usize| Operation::Put(wide(&format!("{n:02}"), "x".repeat(TEXT_LIMIT).into()), Put::Create);
    let full: Vec<Operation> = (0..99).map(put).collect();
    store.commit(TABLE, &full).await.unwrap();
    let rows = scan_all(store, TABLE, &Range::new("p", "", "~")).await.unwrap();
    assert_eq!(rows.len(), full.len());
    // A control character takes six bytes on the wire.
    let put = |n: usize| Operation::Put(wide(&format!("z{n:02}"), "\u{1}".repeat(TEXT_LIMIT).into()), Put::Create);
    let over: Vec<Operation> = (0..22).map(put).collect();
    assert_eq!(kind(store.commit(TABLE, &over).await), "invalid");
}

pub async fn scan_in_order_within_half_open_bounds(store: &dyn TableStore) {
    for key in ["b", "~", "10", "9", "a", "B", "Z", "_", "a-b", "a.b", "a1", "aa", "a~", "a:"] {
        create(store, &row("p", key, "x")).await;
    }
    create(store, &row("o", "a", "other partition")).await;
    create(store, &row("pp", "a", "other partition")).await;
    let all = ["10", "9", "B", "Z", "_", "a", "a-b", "a.b", "a1", "a:", "aa", "a~", "b", "~"];
    let scan = async |from: &str, to: &str| names(store, &Range::new("p", from, to)).await;
    assert_eq!(scan("", "~~").await, all);
    assert_eq!(scan("", "~").await, all[..13]);
    assert_eq!(scan("a", "b").await, ["a", "a-b", "a.b", "a1", "a:", "aa", "a~"]);
    assert_eq!(scan("a", "a").await, [""; 0]);
    assert_eq!(scan("b", "a").await, [""; 0]);
    assert_eq!(scan("a ", "a-").await, [""; 0]);
    assert_eq!(scan("a", "a ").await, ["a"]);
    assert_eq!(scan("", "").await, [""; 0]);
    assert_eq!(names(store, &Range::new("none", "", "~")).await, [""; 0]);
}

pub async fn scan_beside_prefixes(store: &dyn TableStore) {
    let keys = ["halo_mapping_1", "halo_mapping_mapping_1", "halo_mapping", "halo_psa_mapping_1", "halopsa_mapping_1"];
    for key in keys {
        create(store, &row("p", key, "x")).await;
    }
    let scan = async |prefix: &str| names(store, &Range::prefix("p", prefix)).await;
    assert_eq!(scan("halo_mapping_").await, ["halo_mapping_1", "halo_mapping_mapping_1"]);
    assert_eq!(scan("halo_psa_mapping_").await, ["halo_psa_mapping_1"]);
    assert_eq!(scan("halo_mapping_mapping_").await, ["halo_mapping_mapping_1"]);
}

pub async fn pages_fit_together(store: &dyn TableStore) {
    let puts: Vec<Operation> =
        (0..25).map(|n| Operation::Put(row("p", &format!("{n:02}"), "x"), Put::Create)).collect();
    store.commit(TABLE, &puts).await.unwrap();
    for limit in [1, 2, 7, 24, 25, 26] {
        let mut range = Range::new("p", "", "~");
        let mut sizes = Vec::new();
        let mut keys = Vec::new();
        loop {
            let page = store.scan(TABLE, &range, limit).await.unwrap();
            sizes.push(page.rows.len());
            keys.extend(page.rows.into_iter().map(|stored| stored.row.key.row));
            match page.next {
                Some(next) => range.from = next,
                None => break,
            }
        }
        assert_eq!(keys, (0..25).map(|n| format!("{n:02}")).collect::<Vec<_>>(), "limit {limit}");
        let full = sizes.iter().rev().skip(1).all(|size| *size == limit);
        assert!(full, "only the last page is short: limit {limit}, {sizes:?}");
    }
}

pub async fn pages_survive_deletes_and_inserts(store: &dyn TableStore) {
    for n in 0..9 {
        create(store, &row("p", &format!("{n}"), "x")).await;
    }
    let mut range = Range::new("p", "", "~");
    let first = store.scan(TABLE, &range, 3).await.unwrap();
    assert_eq!(first.rows.iter().map(|stored| stored.row.key.row.as_str()).collect::<Vec<_>>(), ["0", "1", "2"]);
    range.from = first.next.unwrap();
    for gone in ["2", "3", "5"] {
        store.delete(TABLE, &Key::new("p", gone), &When::Any).await.unwrap();
    }
    for new in ["1-", "2-", "4-"] {
        create(store, &row("p", new, "x")).await;
    }
    // Nothing twice, nothing left out, and of the new rows those that come after the last one that was seen.
    assert_eq!(names(store, &range).await, ["2-", "4", "4-", "6", "7", "8"]);
}

pub async fn scan_limits(store: &dyn TableStore) {
    for batch in 0..11 {
        let put = |n| Operation::Put(row("p", &format!("{batch:02}{n:02}"), "x"), Put::Create);
        store.commit(TABLE, &(0..100).map(put).collect::<Vec<_>>()).await.unwrap();
    }
    let range = Range::new("p", "", "~");
    let page = store.scan(TABLE, &range, 1000).await.unwrap();
    assert_eq!(page.rows.len(), 1000);
    let page = store.scan(TABLE, &Range { from: page.next.unwrap(), ..range.clone() }, 1000).await.unwrap();
    assert_eq!((page.rows.len(), page.next), (100, None));
    // Outside 1 to 1000 the nearest is meant.
    assert_eq!(store.scan(TABLE, &range, 0).await.unwrap().rows.len(), 1);
    assert_eq!(store.scan(TABLE, &range, 5000).await.unwrap().rows.len(), 1000);
}

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

pub async fn one_of_many_creates_wins(store: &dyn TableStore) {
    for round in 0..10 {
        let key = format!("r{round}");
        let rows: Vec<Row> = (0..20).map(|n| row("p", &key, &format!("writer {n}"))).collect();
        let results = join_all(rows.iter().map(|row| store.put(TABLE, row, &Put::Create))).await;
        let won: Vec<usize> = (0..rows.len()).filter(|n| results[*n].is_ok()).collect();
        assert_eq!(won.len(), 1, "{results:?}");
        let etag = results[won[0]].clone().unwrap();
        assert_eq!(read(store, "p", &key).await, Some(Stored { row: rows[won[0]].clone(), etag }));
        assert!(results.into_iter().filter(Result::is_err).all(|result| kind(result) == "already exists"));
    }
}

pub async fn one_of_many_replaces_wins(store: &dyn TableStore) {
    let mut etag = create(store, &row("p", "r", "first")).await;
    for _ in 0..10 {
        let rows: Vec<Row> = (0..20).map(|n| row("p", "r", &format!("writer {n}"))).collect();
        let replace = Put::Replace(etag.clone());
        let results = join_all(rows.iter().map(|row| store.put(TABLE, row, &replace))).await;
        let won: Vec<usize> = (0..rows.len()).filter(|n| results[*n].is_ok()).collect();
        assert_eq!(won.len(), 1, "{results:?}");
        etag = results[won[0]].clone().unwrap();
        assert_eq!(read(store, "p", "r").await, Some(Stored { row: rows[won[0]].clone(), etag: etag.clone() }));
        assert!(results.into_iter().filter(Result::is_err).all(|result| kind(result) == "precondition"));
    }
}

pub async fn one_of_many_batches_wins(store: &dyn TableStore) {
    for round in 0..10 {
        // All want the guard; each also brings a row of its own, which must not stay behind.
        let batches: Vec<[Operation; 3]> = (0..10)
            .map(|n| {
                [
                    Operation::Put(row("p", &format!("{round}-before-{n}"), "x"), Put::Create),
                    Operation::Put(row("p", &format!("{round}-guard"), &format!("writer {n}")), Put::Create),
                    Operation::Put(row("p", &format!("{round}-v-after-{n}"), "x"), Put::Upsert),
                ]
            })
            .collect();
        let results = join_all(batches.iter().map(|batch| store.commit(TABLE, batch))).await;
        let won: Vec<usize> = (0..batches.len()).filter(|n| results[*n].is_ok()).collect();
        assert_eq!(won.len(), 1, "{results:?}");
        let expected: Vec<String> = batches[won[0]].iter().map(|operation| operation.key().row.clone()).collect();
        assert_eq!(names(store, &Range::prefix("p", &format!("{round}-"))).await, expected);
        assert!(results.into_iter().filter(Result::is_err).all(|result| kind(result) == "already exists"));
    }
}

pub async fn concurrent_upserts_and_deletes_settle(store: &dyn TableStore) {
    let key = Key::new("p", "r");
    for round in 0..10 {
        let rows: Vec<Row> = (0..10).map(|n| row("p", "r", &format!("{round} {n}"))).collect();
        let upserts = join_all(rows.iter().map(|row| store.put(TABLE, row, &Put::Upsert)));
        let deletes = join_all((0..5).map(|_| store.delete(TABLE, &key, &When::Any)));
        let (upserted, deleted) = futures::join!(upserts, deletes);
        assert!(upserted.iter().all(Result::is_ok), "{upserted:?}");
        assert!(deleted.into_iter().all(|result| ["ok", "not found"].contains(&kind(result))));
    }
    store.put(TABLE, &row("p", "r", "last"), &Put::Upsert).await.unwrap();
    assert_eq!(read(store, "p", "r").await.unwrap().row, row("p", "r", "last"));
}

pub async fn scan_table_sees_everything(store: &dyn TableStore) {
    let all = async || -> Vec<Stored> { store.scan_table(TABLE).try_collect().await.unwrap() };
    assert_eq!(all().await, []);
    let mut expected = Vec::new();
    for partition in ["a", "a-1", "a1", "b"] {
        for batch in 0..4 {
            let put = |n| Operation::Put(row(partition, &format!("{batch}{n:02}"), "x"), Put::Create);
            let batch: Vec<Operation> = (0..90).map(put).collect();
            store.commit(TABLE, &batch).await.unwrap();
            expected.extend(batch.iter().map(|operation| operation.key().clone()));
        }
    }
    store.put(Table::Users, &row("a", "other-table", "x"), &Put::Create).await.unwrap();
    assert!(expected.len() > 1000, "more than a page");
    let keys: Vec<Key> = all().await.into_iter().map(|stored| stored.row.key).collect();
    assert_eq!(keys, expected);
}
