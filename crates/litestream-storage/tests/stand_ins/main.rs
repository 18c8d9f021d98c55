//! Backends against stand-ins inside the test process: the contract, and everything that goes wrong
//! on the way to a service.
#![cfg(any(feature = "abs", feature = "gs", feature = "oss", feature = "webdav"))]

#[cfg(feature = "abs")]
mod abs;
mod answers;
mod bodies;
#[cfg(feature = "gs")]
mod gs;
#[cfg(feature = "oss")]
mod oss;
mod parts;
mod place;
mod silence;
mod storm;
#[cfg(feature = "webdav")]
mod webdav;

/// The same tests for each backend.
macro_rules! suite {
    ($place:ty: $($module:ident::$case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::$module::$case(<$place as crate::place::Place>::start()).await;
            }
        )*
    };
}
use suite;
