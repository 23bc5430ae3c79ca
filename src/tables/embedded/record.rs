//! The bytes in the file. What is written here once must be readable for ever.

use redb::{StorageError, TableDefinition};

use crate::tables::{Etag, Key, Row, Stored, Table};

/// The rows of one table, in the order of their keys.
pub(super) const fn rows(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

/// Counters of the store. [`REVISION`] is the only one.
pub(super) const COUNTERS: TableDefinition<'static, &'static str, u64> = TableDefinition::new("counters");
/// How many rows were written, ever. Each write takes the next number as its tag, so that no two have the same one.
pub(super) const REVISION: &str = "revision";

/// Begins every row, so that a later layout can be told from this one.
const LAYOUT: u8 = 1;

/// Partition and row key with a zero between, which neither can hold: partitions stay together, rows in ordinal order.
pub(super) fn key(partition: &str, row: &str) -> Vec<u8> {
    [partition.as_bytes(), b"\0", row.as_bytes()].concat()
}

pub(super) fn tag(revision: u64) -> Etag {
    Etag(format!("W/\"{revision:x}\""))
}

/// The layout, the revision in eight bytes, the properties.
pub(super) fn encode(row: &Row, revision: u64) -> Result<Vec<u8>, redb::Error> {
    let mut bytes = vec![LAYOUT];
    bytes.extend(revision.to_le_bytes());
    postcard::to_extend(&row.properties, bytes).map_err(|_| corrupted("a row can't be written"))
}

/// The revision of an encoded row, without reading the rest.
pub(super) fn revision(value: &[u8]) -> Result<u64, redb::Error> {
    match value {
        [LAYOUT, rest @ ..] => match rest.first_chunk() {
            Some(revision) => Ok(u64::from_le_bytes(*revision)),
            None => Err(corrupted("a row is too short")),
        },
        _ => Err(corrupted("a row of a newer version of crosswalk")),
    }
}

pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Stored, redb::Error> {
    let revision = revision(value)?;
    let unreadable = || corrupted("a row can't be read");
    let key = std::str::from_utf8(key).map_err(|_| unreadable())?;
    let (partition, row) = key.split_once('\0').ok_or_else(unreadable)?;
    // A map has the bytes of a list of pairs; they come in order, and a map is built from such a list at once.
    let pairs: Vec<_> = value.get(9..).and_then(|bytes| postcard::from_bytes(bytes).ok()).ok_or_else(unreadable)?;
    let properties = pairs.into_iter().collect();
    Ok(Stored { row: Row { key: Key::new(partition, row), properties }, etag: tag(revision) })
}

fn corrupted(what: &str) -> redb::Error {
    StorageError::Corrupted(what.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Property;

    /// Fails when a change would make the rows of older files unreadable.
    #[test]
    fn the_layout_is_what_files_out_there_have() {
        let typed = Property::Typed { edm: "Edm.Guid".into(), text: "g".into() };
        let values = [
            Property::Text("t".into()),
            Property::Bool(true),
            Property::Int32(-1),
            Property::Int64(1),
            Property::Double(1.0),
            typed,
        ];
        let properties = ["A", "B", "C", "D", "E", "F"].map(str::to_owned).into_iter().zip(values).collect();
        let row = Row { key: Key::new("p", "r"), properties };
        let bytes = encode(&row, 0x0102).unwrap();
        let expected = b"\x01\x02\x01\0\0\0\0\0\0\x06\
            \x01A\x00\x01t\x01B\x01\x01\x01C\x02\x01\x01D\x03\x02\x01E\x04\0\0\0\0\0\0\xf0\x3f\x01F\x05\x08Edm.Guid\x01g";
        assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert_eq!(decode(b"p\0r", &bytes).unwrap(), Stored { row, etag: Etag("W/\"102\"".into()) });
    }

    #[test]
    fn what_is_no_row_is_an_error() {
        for bytes in [&b""[..], b"\x02", b"\x01abc", b"\x01\0\0\0\0\0\0\0\0", b"\x01\0\0\0\0\0\0\0\0\x09"] {
            assert!(decode(b"p\0r", bytes).is_err(), "{bytes:?}");
        }
    }
}
