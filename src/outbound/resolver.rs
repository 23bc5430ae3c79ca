//! From names to public addresses. The connection is made to what this answers, with no second look at DNS in between: a
//! name that is public when checked and private when called gains nothing.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address;

/// Of the five seconds that a connection may take. The C library waits that long for its first name server alone.
const DEADLINE: Duration = Duration::from_secs(3);

/// Why a name has no address to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{self:?}")]
pub(super) enum Unresolved {
    Unknown,
    Late,
    /// One such address is enough: a mixture is an attack or a mistake.
    NotPublic,
}

type Lookup = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

pub(super) struct Resolver {
    /// These three are fields for the tests, which have neither names of their own nor public addresses.
    pub(super) lookup: Box<Lookup>,
    pub(super) is_public: fn(IpAddr) -> bool,
    pub(super) deadline: Duration,
}

impl Resolver {
    /// Asks the machine's resolver.
    pub(super) fn system() -> Self {
        Self { lookup: Box::new(|name| ask_system(name).boxed()), is_public: address::is_public, deadline: DEADLINE }
    }
}

async fn ask_system(name: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (answer, is_public) =
            (tokio::time::timeout(self.deadline, (self.lookup)(name.as_str().to_owned())), self.is_public);
        Box::pin(async move {
            let addresses = answer.await.map_err(|_| Unresolved::Late)?.map_err(|_| Unresolved::Unknown)?;
            if addresses.is_empty() {
                return Err(Unresolved::Unknown.into());
            }
            if !addresses.iter().all(|address| is_public(*address)) {
                return Err(Unresolved::NotPublic.into());
            }
            // Port 0: the connector fills in that of the URL.
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolve(
        lookup: impl Fn() -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Result<Vec<String>, Unresolved> {
        let resolver =
            Resolver { lookup: Box::new(move |_| lookup()), deadline: Duration::from_millis(50), ..Resolver::system() };
        match resolver.resolve("api.example.com".parse().unwrap()).await {
            Ok(addresses) => Ok(addresses.map(|address| address.to_string()).collect()),
            Err(error) => Err(*error.downcast().unwrap()),
        }
    }

    #[tokio::test]
    async fn one_address_inside_is_enough_to_refuse_a_name() {
        let table = [
            (vec!["8.8.8.8"], Ok(vec!["8.8.8.8:0"])),
            (vec!["8.8.8.8", "2606:4700::1111"], Ok(vec!["8.8.8.8:0", "[2606:4700::1111]:0"])),
            (vec!["127.0.0.1"], Err(Unresolved::NotPublic)),
            (vec!["8.8.8.8", "169.254.169.254"], Err(Unresolved::NotPublic)),
            (vec!["8.8.8.8", "::ffff:8.8.8.8"], Err(Unresolved::NotPublic)),
            (vec![], Err(Unresolved::Unknown)),
        ];
        for (answer, expected) in table {
            let answer: Vec<IpAddr> = answer.into_iter().map(|text| text.parse().unwrap()).collect();
            let resolved = resolve(move || futures::future::ok(answer.clone()).boxed()).await;
            assert_eq!(resolved, expected.map(|all| all.into_iter().map(str::to_owned).collect()));
        }
    }

    #[tokio::test]
    async fn no_answer_and_a_late_one_are_told_apart() {
        let failed = resolve(|| futures::future::err(io::Error::other("no such name")).boxed()).await;
        assert_eq!(failed, Err(Unresolved::Unknown));
        assert_eq!(resolve(|| futures::future::pending().boxed()).await, Err(Unresolved::Late));
    }

    #[tokio::test]
    async fn the_machines_resolver_is_judged_too() {
        let resolver = Resolver::system();
        let error = resolver.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert_eq!(error.downcast_ref(), Some(&Unresolved::NotPublic));
    }
}
