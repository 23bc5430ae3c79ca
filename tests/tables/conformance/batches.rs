//! Batches: all or nothing, and which failure is told.

use super::*;

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
