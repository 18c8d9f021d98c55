//! An SFTP server inside the test process, with its files in memory.
//!
//! Requests of a connection are worked off one after the other, as OpenSSH does it. It can be told
//! to misbehave, request by request.

mod misdeed;
mod session;
mod tree;

use std::collections::HashMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, Config, Msg, Session as Ssh, VerifiedPublicKey, run_stream};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::misdeed::Rule;
pub(crate) use self::misdeed::{Asked, Misdeed, Verb, lasting};
use self::session::Session;
use self::tree::Tree;

/// Who may come in.
pub(crate) const USER: &str = "somebody";
/// The word that lets [`USER`] in.
pub(crate) const PASSWORD: &str = "open sesame";

/// The extensions that a server offers.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent extensions, not the states of one machine"
)]
pub(crate) struct Offers {
    pub(crate) posix_rename: bool,
    pub(crate) hardlink: bool,
    pub(crate) fsync: bool,
    pub(crate) statvfs: bool,
}

impl Offers {
    pub(crate) const ALL: Self = Self {
        posix_rename: true,
        hardlink: true,
        fsync: true,
        statvfs: true,
    };

    pub(crate) const NONE: Self = Self {
        posix_rename: false,
        hardlink: false,
        fsync: false,
        statvfs: false,
    };
}

/// A server; ends when dropped.
pub(crate) struct StandIn {
    address: SocketAddr,
    host_key: PublicKey,
    door_key: PrivateKey,
    shared: Arc<Shared>,
    listening: AbortHandle,
}

struct Shared {
    offers: Offers,
    tree: Mutex<Tree>,
    rule: Mutex<Option<Rule>>,
    asked: Mutex<Vec<Asked>>,
    /// What was tried to get in.
    logins: Mutex<Vec<String>>,
    sockets: Mutex<Vec<Arc<TcpStream>>>,
    /// How many requests were answered by nothing.
    silent: watch::Sender<usize>,
    is_full: AtomicBool,
    /// How many of those that connect are sent away.
    closed: AtomicUsize,
    door: PublicKey,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A key that no other server in this process has.
pub(crate) fn new_key() -> PrivateKey {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let seed = [NEXT.fetch_add(1, Ordering::Relaxed); 32];
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    PrivateKey::new(pair, "").expect("no comment is too long")
}

fn now() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs() as u32
}

impl StandIn {
    pub(crate) async fn start(offers: Offers) -> Self {
        let host_key = new_key();
        let door_key = new_key();
        let shared = Arc::new(Shared {
            offers,
            tree: Mutex::new(Tree::new()),
            rule: Mutex::default(),
            asked: Mutex::default(),
            logins: Mutex::default(),
            sockets: Mutex::default(),
            silent: watch::Sender::new(0),
            is_full: AtomicBool::new(false),
            closed: AtomicUsize::new(0),
            door: door_key.public_key().clone(),
        });
        let config = Arc::new(Config {
            keys: vec![host_key.clone()],
            methods: MethodSet::from(&[MethodKind::Password, MethodKind::PublicKey][..]),
            auth_rejection_time: Duration::ZERO,
            inactivity_timeout: None,
            // The library stops reading when it is full, and does not write either then: more than
            // a client has on its way.
            channel_buffer_size: 1 << 16,
            ..Config::default()
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared), config));
        Self {
            address,
            host_key: host_key.public_key().clone(),
            door_key,
            shared,
            listening: listening.abort_handle(),
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// The key of the server, as a line.
    pub(crate) fn host_key(&self) -> String {
        self.host_key.to_openssh().expect("a sound key")
    }

    /// The key that lets [`USER`] in.
    pub(crate) fn door_key(&self) -> &PrivateKey {
        &self.door_key
    }

    /// Lets requests go wrong as `rule` says, from now on.
    pub(crate) fn when(&self, rule: impl FnMut(&Asked) -> Option<Misdeed> + Send + 'static) {
        *lock(&self.shared.rule) = Some(Box::new(rule));
    }

    /// Ends all misbehaviour.
    pub(crate) fn behave(&self) {
        *lock(&self.shared.rule) = None;
    }

    /// Whether there is no space left.
    pub(crate) fn fill(&self, is_full: bool) {
        self.shared.is_full.store(is_full, Ordering::SeqCst);
    }

    /// Sends the next `times` that connect away at once.
    pub(crate) fn close(&self, times: usize) {
        self.shared.closed.store(times, Ordering::SeqCst);
    }

    /// Breaks all connections.
    pub(crate) fn sever(&self) {
        for socket in lock(&self.shared.sockets).drain(..) {
            // It fails when the client was faster.
            drop(socket.shutdown(Shutdown::Both));
        }
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// How many requests for `verb` there were.
    pub(crate) fn count(&self, verb: Verb) -> usize {
        let asked = lock(&self.shared.asked);
        asked.iter().filter(|asked| asked.verb == verb).count()
    }

    /// What was tried to get in so far.
    pub(crate) fn logins(&self) -> Vec<String> {
        lock(&self.shared.logins).clone()
    }

    /// Completes when another request is answered by nothing.
    pub(crate) fn silences(&self) -> watch::Receiver<usize> {
        self.shared.silent.subscribe()
    }

    /// The paths of all files.
    pub(crate) fn files(&self) -> Vec<String> {
        self.shared.tree().files()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.listening.abort();
        self.sever();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>, config: Arc<Config>) {
    let mut connection = 0;
    while let Ok((stream, _)) = listener.accept().await {
        let closed = shared.closed.load(Ordering::SeqCst);
        if closed > 0 {
            shared.closed.store(closed - 1, Ordering::SeqCst);
            continue;
        }
        stream.set_nodelay(true).expect("a socket");
        let stream = stream.into_std().expect("a socket");
        let socket = Arc::new(stream.try_clone().expect("descriptors are left"));
        lock(&shared.sockets).push(Arc::clone(&socket));
        let stream = tokio::net::TcpStream::from_std(stream).expect("a runtime");
        let visitor = Visitor {
            shared: Arc::clone(&shared),
            connection,
            socket,
            channels: HashMap::new(),
        };
        connection += 1;
        let config = Arc::clone(&config);
        tokio::spawn(async move {
            // A client that hangs up is its own business.
            if let Ok(session) = run_stream(config, stream, visitor).await {
                drop(session.await);
            }
        });
    }
}

impl Shared {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        lock(&self.tree)
    }

    fn is_full(&self) -> bool {
        self.is_full.load(Ordering::SeqCst)
    }

    fn judge(&self, asked: Asked) -> Option<Misdeed> {
        let misdeed = match &mut *lock(&self.rule) {
            Some(rule) => rule(&asked),
            None => None,
        };
        lock(&self.asked).push(asked);
        misdeed
    }
}

/// One SSH connection.
struct Visitor {
    shared: Arc<Shared>,
    connection: usize,
    socket: Arc<TcpStream>,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Visitor {
    fn decide(&self, tried: String, user: &str, is_right: bool) -> Auth {
        lock(&self.shared.logins).push(tried);
        if user == USER && is_right {
            Auth::Accept
        } else {
            Auth::reject()
        }
    }
}

impl russh::server::Handler for Visitor {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(self.decide(format!("password {password}"), user, password == PASSWORD))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        let is_right = key.public_key.key_data() == self.shared.door.key_data();
        Ok(self.decide("key".to_owned(), user, is_right))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: russh::server::ChannelOpenHandle,
        _: &mut Ssh,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        ssh: &mut Ssh,
    ) -> Result<(), russh::Error> {
        let Some(channel) = self.channels.remove(&id).filter(|_| name == "sftp") else {
            return ssh.channel_failure(id);
        };
        ssh.channel_success(id)?;
        let session = Session {
            shared: Arc::clone(&self.shared),
            connection: self.connection,
            socket: Arc::clone(&self.socket),
            ssh: ssh.handle(),
            open: HashMap::new(),
            opened: 0,
        };
        russh_sftp::server::run(channel.into_stream(), session).await;
        Ok(())
    }
}
