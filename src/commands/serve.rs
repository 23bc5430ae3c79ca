//! `crosswalk serve`: the API, behind the Functions host or on its own.

use std::{
    io::{self, Write},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, anyhow};
use tokio::{net::TcpListener, sync::oneshot};
use tracing::{info, warn};

use super::describe;
use crate::{
    app::App,
    auth::{Auth, Tokens},
    cache::system_clock,
    config::{Identity, Server, Storage},
    http,
};

/// How long stopping waits for requests that are under way.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// How long stopping waits for what goes on after its answer.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// Serves until the process is told to stop. `announce` gets the address, once it is taken.
///
/// # Errors
/// The port is taken, the store cannot be opened.
pub async fn run(
    server: &Server,
    storage: &Storage,
    mut app: App,
    announce: impl FnOnce(&str) -> String,
) -> anyhow::Result<()> {
    if let Identity::Entra(entra) = &server.identity {
        let tokens = Tokens::new(entra, system_clock()).map_err(|problem| anyhow!(problem))?;
        app.auth = Auth::entra(tokens, Arc::clone(&app.tables));
    }
    let listener = TcpListener::bind(server.listen).await.with_context(|| {
        format!("port {} cannot be listened on; choose another with CROSSWALK_PORT", server.listen.port())
    })?;
    let address = format!("http://{}", listener.local_addr()?);
    let stop = stop()?;
    let text = announce(&address);
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    drop(out);
    let integrations = app.registry.iter().count();
    info!(%address, storage = describe(storage), integrations, "listening");
    match &server.identity {
        Identity::Entra(entra) => {
            info!(tenant = %entra.tenant_id, audience = entra.audience, authority = %entra.authority, "callers show tokens");
        }
        Identity::Development => warn!(
            "development identity: whoever reaches this address may do everything; the header X-Dev-User says who they \
             are"
        ),
    }

    app.cors_origins.clone_from(&server.cors_origins);
    let app = Arc::new(app);
    let repair = app.mappings.repair();
    app.tasks.spawn(async move {
        match repair.run_once(SystemTime::now()).await {
            Ok(report) => info!("repair at start: {report}"),
            Err(error) => warn!(%error, "repair at start; the timer tries again"),
        }
    });
    let (told, heard) = oneshot::channel();
    let serving = http::serve(Arc::clone(&app), listener, async {
        stop.await;
        info!("stopping");
        // Nobody listens only where serving has ended already.
        let _ = told.send(());
    });
    let overdue = async {
        let _ = heard.await;
        tokio::time::sleep(ANSWER_DEADLINE).await;
    };
    tokio::select! {
        outcome = serving => outcome?,
        // A caller that stops in the middle of its request would hold the process for ever.
        () = overdue => warn!("stopped before all requests were answered"),
    }
    app.drain(DRAIN_DEADLINE).await;
    Ok(())
}

/// Waits for Ctrl-C, or for SIGTERM where there are signals. They are taken over at once, not only when somebody waits: one
/// that comes right after the start would kill the process. The Functions host sends neither but kills: nothing may depend
/// on getting here.
fn stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
