//! Who may do what, over platform tables in memory, rows of other programs included.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
};

use crosswalk::{
    auth::{Auth, Caller, Denied, Manageable, Permissions, Right, TokenError},
    cache::system_clock,
    domain::OrgId,
    tables::*,
};

use crate::{
    around::{Around, Read, Steps},
    provider::Provider,
};

const EVERY_RIGHT: [Right; 8] = [
    Right::Anonymous,
    Right::Authenticated,
    Right::ListManageable,
    Right::ManageConfig,
    Right::Resolve,
    Right::SetMapping,
    Right::Discover,
    Right::ManageSecrets,
];

/// Counts reads, and fails when told to.
struct Counting {
    inner: Tables,
    reads: AtomicUsize,
    down: AtomicBool,
}

impl Steps for Counting {
    fn inner(&self) -> &Tables {
        &self.inner
    }

    async fn read(&self, _table: Table, _of: Read<'_>) -> Result<(), TableError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let unavailable = || TableError::Unavailable { reason: "down".into(), retry_after: None };
        if self.down.load(Ordering::SeqCst) { Err(unavailable()) } else { Ok(()) }
    }

    fn read_all(&self, _table: Table) {
        panic!("no request scans a table")
    }
}

type Values<'a> = &'a [(&'a str, Property)];

async fn put(tables: &dyn TableStore, table: Table, partition: &str, row: &str, properties: Values<'_>) {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    tables.put(table, &Row { key: Key::new(partition, row), properties }, &Put::Upsert).await.unwrap();
}

fn yes(name: &str) -> (&str, Property) {
    (name, true.into())
}

async fn tables() -> Arc<Around<Counting>> {
    let tables = Around(Counting {
        inner: Arc::new(EmbeddedTables::in_memory().unwrap()),
        reads: AtomicUsize::new(0),
        down: AtomicBool::new(false),
    });
    let msp = || ("UserType", Property::from("MSP"));
    let text = |name: &'static str| (name, Property::from("true"));
    let users: [(&str, Values<'_>); 9] = [
        ("admin", &[msp(), yes("IsMspAdmin"), yes("IsActive")]),
        ("former-admin", &[msp(), yes("IsMspAdmin"), ("IsActive", false.into())]),
        ("admin-in-text", &[msp(), text("IsMspAdmin"), yes("IsActive")]),
        ("active-in-text", &[msp(), yes("IsMspAdmin"), text("IsActive")]),
        ("unknown-state", &[msp(), yes("IsMspAdmin")]),
        ("technician", &[msp(), yes("IsActive"), ("IsMspAdmin", false.into())]),
        ("customer", &[("UserType", "ORG".into()), yes("IsActive")]),
        ("unknown-type", &[yes("IsActive")]),
        ("former", &[msp(), ("IsActive", false.into())]),
    ];
    for (id, properties) in users {
        put(&tables, Table::Users, "USER", id, properties).await;
    }
    for id in ["technician", "customer", "unknown-type", "former", "former-admin", "unknown-state", "no-row"] {
        put(&tables, Table::UserPermissions, id, "acme", &[yes("CanManageConfig")]).await;
        put(
            &tables,
            Table::UserPermissions,
            id,
            "globex",
            &[yes("CanExecuteWorkflows"), ("CanManageConfig", false.into())],
        )
        .await;
        put(
            &tables,
            Table::UserPermissions,
            id,
            "hooli",
            &[text("CanManageConfig"), ("CanExecuteWorkflows", Property::Int32(1))],
        )
        .await;
        put(&tables, Table::UserPermissions, id, "initech", &[]).await;
        put(&tables, Table::UserPermissions, id, "not_an_org", &[yes("CanManageConfig")]).await;
    }
    Arc::new(tables)
}

fn org(id: &str) -> OrgId {
    OrgId::parse(id).unwrap()
}

fn user(id: &str) -> Caller {
    Caller::User { id: id.to_owned() }
}

/// What that caller may do on each organization, and without one.
async fn allowed(auth: &Auth, caller: &Caller) -> Vec<(&'static str, Vec<Right>)> {
    let mut all = Vec::new();
    for id in ["acme", "globex", "hooli", "initech", "umbrella", "-"] {
        let organization = (id != "-").then(|| org(id));
        let mut rights = Vec::new();
        for right in EVERY_RIGHT {
            match auth.authorize(Some(caller), right, organization.as_ref()).await {
                Ok(_) => rights.push(right),
                Err(Denied::Forbidden(reason)) => {
                    assert!(reason.contains("required") || reason.contains("may"), "{reason}");
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        all.push((id, rights));
    }
    all
}

/// What everybody may who is somebody.
const BASE: [Right; 3] = [Right::Anonymous, Right::Authenticated, Right::ListManageable];

fn expected(rights: [&[Right]; 6]) -> Vec<(&'static str, Vec<Right>)> {
    let names = ["acme", "globex", "hooli", "initech", "umbrella", "-"];
    names.into_iter().zip(rights).map(|(name, rights)| (name, [&BASE, rights].concat())).collect()
}

#[tokio::test]
async fn users_may_do_what_the_platform_says_and_nothing_more() {
    use Right::{Discover, ManageConfig, ManageSecrets, Resolve, SetMapping};
    let auth = Auth::development(tables().await);
    let all: &[Right] = &EVERY_RIGHT[3..];
    assert_eq!(allowed(&auth, &user("admin")).await, expected([all; 6]));
    assert_eq!(allowed(&auth, &Caller::Developer { id: "dev".into() }).await, expected([all; 6]));
    assert_eq!(
        allowed(&auth, &user("technician")).await,
        expected([&[ManageConfig, Resolve, SetMapping, Discover, ManageSecrets], &[Resolve], &[], &[], &[], &[]])
    );
    for id in ["customer", "unknown-type"] {
        let on_acme: &[Right] = &[ManageConfig, Resolve, SetMapping];
        assert_eq!(allowed(&auth, &user(id)).await, expected([on_acme, &[Resolve], &[], &[], &[], &[]]), "{id}");
    }
    for id in [
        "former",
        "former-admin",
        "unknown-state",
        "admin-in-text",
        "active-in-text",
        "no-row",
        "nobody",
        "USER",
        "a'b",
        "",
    ] {
        assert_eq!(allowed(&auth, &user(id)).await, expected([&[]; 6]), "{id}");
    }
}

#[tokio::test]
async fn an_application_resolves_and_sets_with_its_role_and_nothing_else() {
    let auth = Auth::development(tables().await);
    // Its id is a user's, whose rights it does not get.
    let with = |roles: &[&str]| Caller::Application {
        id: "admin".into(),
        roles: roles.iter().map(|&role| role.into()).collect(),
    };
    let base = [Right::Anonymous, Right::Authenticated];
    let names = ["acme", "globex", "hooli", "initech", "umbrella", "-"];
    let workflows = [&base[..], &[Right::Resolve, Right::SetMapping]].concat();
    assert_eq!(
        allowed(&auth, &with(&["Other", "Workflows.Execute"])).await,
        names.map(|name| (name, workflows.clone()))
    );
    for roles in [&[][..], &["workflows.execute"], &["Workflows.Execute2"], &["Other"]] {
        assert_eq!(allowed(&auth, &with(roles)).await, names.map(|name| (name, base.to_vec())), "{roles:?}");
    }
}

#[tokio::test]
async fn nobody_may_do_nothing_but_what_is_anonymous() {
    let auth = Auth::development(tables().await);
    for right in EVERY_RIGHT {
        let outcome = auth.authorize(None, right, Some(&org("acme"))).await;
        match right {
            Right::Anonymous => assert_eq!(outcome.unwrap().organizations, Manageable::Only(vec![])),
            _ => assert!(matches!(outcome, Err(Denied::Unauthenticated)), "{right:?}"),
        }
    }
}

#[tokio::test]
async fn lists_hold_the_organizations_that_the_caller_may_manage() {
    let tables = tables().await;
    let auth = Auth::development(Arc::clone(&tables) as Tables);
    let listed =
        async |caller: &Caller| auth.authorize(Some(caller), Right::ListManageable, None).await.unwrap().organizations;
    for id in ["technician", "customer", "unknown-type"] {
        assert_eq!(listed(&user(id)).await, Manageable::Only(vec![org("acme")]), "{id}");
    }
    assert_eq!(listed(&user("admin")).await, Manageable::All);
    for id in ["former-admin", "former", "unknown-state", "no-row", "nobody", "a'b"] {
        assert_eq!(listed(&user(id)).await, Manageable::Only(vec![]), "{id}");
    }
    assert!(Manageable::All.allows(&org("x")) && !Manageable::Only(vec![org("a")]).allows(&org("b")));

    // More than one page.
    for number in 0..1500 {
        put(
            &*tables.inner,
            Table::UserPermissions,
            "technician",
            &format!("org-{number:04}"),
            &[yes("CanManageConfig")],
        )
        .await;
    }
    let Manageable::Only(many) = listed(&user("technician")).await else { panic!() };
    assert_eq!((many.len(), many.is_sorted()), (1501, true));
}

#[tokio::test]
async fn a_store_that_does_not_answer_gives_no_rights_and_is_not_remembered() {
    let tables = tables().await;
    let auth = Auth::development(Arc::clone(&tables) as Tables);
    tables.down.store(true, Ordering::SeqCst);
    for right in [Right::ManageConfig, Right::ListManageable, Right::Discover] {
        let outcome = auth.authorize(Some(&user("admin")), right, Some(&org("acme"))).await;
        assert!(matches!(outcome, Err(Denied::Unavailable(TableError::Unavailable { .. }))), "{right:?}");
    }
    tables.down.store(false, Ordering::SeqCst);
    assert!(auth.authorize(Some(&user("admin")), Right::ManageConfig, Some(&org("acme"))).await.is_ok());
}

#[tokio::test]
async fn a_hundred_requests_read_two_rows() {
    let tables = tables().await;
    let permissions = Permissions::new(Arc::clone(&tables) as Tables, system_clock());
    let acme = org("acme");
    let all = futures::future::join_all((0..100).map(|_| permissions.rights("technician", Some(&acme)))).await;
    assert!(all.into_iter().all(|rights| rights.unwrap().can_manage()));
    assert_eq!(tables.reads.load(Ordering::SeqCst), 2);
    // Another organization's rights are others; the user's row is known.
    assert!(!permissions.rights("technician", Some(&org("globex"))).await.unwrap().can_manage());
    assert_eq!(tables.reads.load(Ordering::SeqCst), 3);
    permissions.rights("a'b", Some(&acme)).await.unwrap();
    assert_eq!(tables.reads.load(Ordering::SeqCst), 3, "an id that no key can hold is not looked for");
}

/// Both ways: a right that was given must not be missing for longer than one that was taken away still counts.
#[tokio::test]
async fn what_the_platform_changes_counts_after_five_seconds() {
    let tables = tables().await;
    let now = Arc::new(AtomicI64::new(0));
    let told = Arc::clone(&now);
    let clock = Arc::new(move || told.load(Ordering::SeqCst));
    let permissions = Permissions::new(Arc::clone(&tables) as Tables, clock);
    let acme = org("acme");
    let can = async |id: &str| permissions.rights(id, Some(&acme)).await.unwrap().can_manage();
    let set = async |table, partition: &str, row: &str, name: &str, value: bool| {
        put(&*tables.inner, table, partition, row, &[("UserType", "MSP".into()), (name, value.into())]).await;
    };
    assert!(can("technician").await && can("admin").await && can("customer").await);
    assert!(!can("former").await && !can("newcomer").await);
    assert_eq!(permissions.last("technician", Some(&acme)).await.map(|rights| rights.can_manage()), Some(true));
    assert_eq!(permissions.last("technician", Some(&org("globex"))).await, None);

    set(Table::UserPermissions, "technician", "acme", "CanManageConfig", false).await;
    set(Table::Users, "USER", "admin", "IsActive", false).await;
    tables.inner.delete(Table::UserPermissions, &Key::new("customer", "acme"), &When::Any).await.unwrap();
    set(Table::Users, "USER", "former", "IsActive", true).await;
    set(Table::Users, "USER", "newcomer", "IsActive", true).await;
    set(Table::UserPermissions, "newcomer", "acme", "CanManageConfig", true).await;
    now.store(4, Ordering::SeqCst);
    assert!(can("technician").await && can("admin").await && can("customer").await);
    assert!(!can("former").await && !can("newcomer").await);
    now.store(5, Ordering::SeqCst);
    assert!(!can("technician").await && !can("admin").await && !can("customer").await);
    assert!(can("former").await && can("newcomer").await);

    // An old answer stands in for nothing.
    tables.down.store(true, Ordering::SeqCst);
    now.store(9, Ordering::SeqCst);
    assert!(can("newcomer").await);
    now.store(10, Ordering::SeqCst);
    assert!(permissions.rights("newcomer", Some(&acme)).await.is_err());
    assert_eq!(permissions.last("technician", Some(&acme)).await.map(|rights| rights.can_manage()), Some(false));
}

#[tokio::test]
async fn a_development_name_counts_in_development_mode_alone() {
    let tables = tables().await;
    let development = Auth::development(Arc::clone(&tables) as Tables);
    let named = |id: &str| Ok(Caller::Developer { id: id.to_owned() });
    assert_eq!(development.identify(None, None).await, named("dev-admin"));
    assert_eq!(development.identify(Some("Bearer x"), Some("alice")).await, named("alice"));

    let entra = Auth::entra(Provider::start().await.tokens(), tables);
    assert_eq!(entra.identify(None, Some("alice")).await, Err(TokenError::Missing));
    assert!(matches!(entra.identify(Some("Bearer x"), Some("alice")).await, Err(TokenError::Invalid(_))));
}
