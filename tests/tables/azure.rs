//! The Azure adapter, on Azurite.

use crosswalk::tables::{AzureAccount, AzureTables};

use crate::{azurite::Azurite, conformance};

fn store() -> AzureTables {
    let account = AzureAccount::from_connection_string(&Azurite::start().account()).unwrap();
    AzureTables::new(&account)
}

conformance::run_on!(store());
