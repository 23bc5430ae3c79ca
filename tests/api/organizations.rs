//! `GET /organizations`.

use crosswalk::tables::{Property, Table};

use crate::{documents::stable, server::Server};

#[tokio::test]
async fn all_organizations_in_the_order_of_their_ids() {
    let server = Server::start().await;
    let typed = Property::Typed { edm: "Edm.Guid".into(), text: "6f9619ff-8b86-d011-b42d-00c04fc964ff".into() };
    server
        .organization("beta", &[("TenantId", typed), ("IsActive", true.into()), ("Extra", Property::Double(1.5))])
        .await;
    insta::assert_snapshot!(stable(&server.api.get("/organizations").await.is(200).json()), @r#"
    {
      "count": 4,
      "organizations": [
        {
          "id": "acme",
          "is_active": true,
          "name": "Acme Corp",
          "tenant_id": null
        },
        {
          "id": "beta",
          "is_active": true,
          "name": null,
          "tenant_id": "6f9619ff-8b86-d011-b42d-00c04fc964ff"
        },
        {
          "id": "globex",
          "is_active": true,
          "name": "Globex",
          "tenant_id": null
        },
        {
          "id": "hooli",
          "is_active": false,
          "name": "Hooli",
          "tenant_id": null
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn rows_of_other_programs_do_not_take_the_list_down() {
    let server = Server::start().await;
    // No properties at all, a state that is no boolean, a key that is no id, another partition.
    server.organization("empty", &[]).await;
    server.organization("odd", &[("Name", Property::Int64(7)), ("IsActive", "true".into())]).await;
    server.organization("not_an_id", &[("IsActive", true.into())]).await;
    server.row(Table::Organizations, "OTHER", "elsewhere", &[("IsActive", true.into())]).await;
    let list = server.api.get("/organizations").await.is(200).json();
    let lines: Vec<_> = list["organizations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {} {}", one["id"], one["name"], one["is_active"]))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    "acme" "Acme Corp" true
    "empty" null false
    "globex" "Globex" true
    "hooli" "Hooli" false
    "odd" "7" false
    "#);
    // What is not clearly active is not active.
    for id in ["empty", "odd"] {
        let path = format!("/organizations/{id}/integrations/halo");
        server.api.get(&path).await.is(409);
    }
    for id in ["elsewhere", "nobody"] {
        server.api.get(&format!("/organizations/{id}/integrations/halo")).await.is(404);
    }
}
