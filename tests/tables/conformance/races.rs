//! Many writers of one row.

use super::*;

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
