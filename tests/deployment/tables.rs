//! The tables that are provisioned are those that the program knows.

use std::collections::BTreeSet;

use crosswalk::tables::Table;

use crate::bicep::{Kind, file};

#[test]
fn every_table_of_the_program_is_provisioned_and_no_other() {
    let storage = file("modules/storage.bicep").declarations();
    let list = storage.iter().find(|one| one.kind == Kind::Var && one.name == "tables").unwrap();
    let provisioned: Vec<_> = list.value.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let unique: BTreeSet<_> = provisioned.iter().copied().collect();
    assert_eq!(unique, Table::ALL.map(Table::name).into(), "provisioned on the left, known on the right");
    assert_eq!(unique.len(), provisioned.len());

    let table = storage.iter().find(|one| one.resource_type().ends_with("/tables")).unwrap();
    assert_eq!((&table.value["name"]["="], &table.value["parent"]["="]), (&"tableName".into(), &"tableService".into()));
    for name in provisioned {
        // The rule of Azure.
        let is_valid = (3..=63).contains(&name.len()) && name.bytes().all(|one| one.is_ascii_alphanumeric());
        assert!(is_valid && name.starts_with(|first: char| first.is_ascii_alphabetic()), "{name}");
    }
}
