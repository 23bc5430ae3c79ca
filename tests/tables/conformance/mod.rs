//! What every table store does. Each case is a plain function on a store of its own that is empty.

use std::collections::BTreeSet;

use crosswalk::tables::{
    BATCH_LIMIT, Etag, Key, Operation, PROPERTIES_LIMIT, Page, Properties, Property, Put, Range, Row, Stored,
    TEXT_LIMIT, Table, TableError, TableStore, When, scan_all,
};
use futures::{TryStreamExt, future::join_all};

mod batches;
mod limits;
mod races;
mod rows;
mod scans;

pub use self::{batches::*, limits::*, races::*, rows::*, scans::*};

/// Makes a test of every case, each on a store that the expression makes, beside what has to live as long.
macro_rules! cases {
    ($($case:ident)*) => {
        macro_rules! run_on {
            ($store:expr) => {
                $(
                    #[tokio::test]
                    async fn $case() {
                        let (store, _kept) = $store;
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
