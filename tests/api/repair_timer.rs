//! The timer of the Functions host: outside of `/api`, in the shape the host wants.

use serde_json::Value;

use crate::{
    server::Server,
    valve::{Flow, Valve},
    wire,
};

#[tokio::test]
async fn the_timer_repairs_and_answers_as_the_host_wants() {
    let server = Server::start().await;
    let answer = wire::send(&server, "POST /RepairTimer HTTP/1.1\r\nContent-Length: 2\r\n", b"{}").await.is(200);
    insta::assert_snapshot!(answer.text(), @r#"{"Logs":["0 unfinished changes finished, 0 old markers removed, 0 still in flight, 0 failed"],"Outputs":{},"ReturnValue":null}"#);
    let answer = wire::send(&server, "GET /RepairTimer HTTP/1.1\r\n", b"").await.is(405);
    assert_eq!(answer.header("allow"), "POST");
    let root = wire::send(&server, "GET / HTTP/1.1\r\n", b"").await.is(200);
    assert!(root.json().is_object());
}

#[tokio::test]
async fn the_timer_fails_aloud_while_the_store_is_down() {
    let valve = Valve::new();
    let server = Server::on(valve.clone()).await;
    valve.turn(Flow::Down);
    let answer = wire::send(&server, "POST /RepairTimer HTTP/1.1\r\nContent-Length: 0\r\n", b"").await.is(503);
    assert_eq!(answer.json()["error"], Value::from("Storage unavailable"));
}
