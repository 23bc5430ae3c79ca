//! Scans: order, half-open ranges, pages.

use super::*;

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
