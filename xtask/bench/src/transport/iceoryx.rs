//! iceoryx2: publish-subscribe over shared memory; where a side may sleep, an event beside it, notified for each
//! message.
//!
//! Its files and its names in shared memory carry a prefix of this run, and are swept when the sides are over: the
//! crate leaves some where a process is killed. A sender whose subscriber is full waits inside the crate's call, in
//! both modes: its other choice is to lose the message.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use iceoryx2::port::backpressure_strategy::BackpressureStrategy;
use iceoryx2::port::{listener::Listener, notifier::Notifier, publisher::Publisher, subscriber::Subscriber};
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::{event, publish_subscribe};

use super::pair::DEADLINE;
use super::{Mode, Plan, Receiver, Sender, Side, Transport};

/// Distinguishes the services of one run.
static SERVICES: AtomicU32 = AtomicU32::new(0);

pub(super) struct PublishSubscribe {
    config: Config,
    service: String,
    places: usize,
    mode: Mode,
}

/// What keeps a port's service alive; dropped after the port.
struct Opened<const N: usize> {
    messages: publish_subscribe::PortFactory<ipc::Service, [u8; N], ()>,
    events: Option<event::PortFactory<ipc::Service>>,
    _node: Node<ipc::Service>,
}

fn text(what: &'static str) -> impl Fn(&dyn Display) -> String {
    move |error| format!("iceoryx2: {what}: {error}")
}

/// What the names of this run begin with. Asked in the process that watches; the sides inherit the answer.
fn prefix() -> String {
    format!("monshm_bench_{}_", std::process::id())
}

fn root() -> PathBuf {
    std::env::temp_dir().join(format!("{}iceoryx2", prefix()))
}

impl PublishSubscribe {
    fn open<const N: usize>(&self) -> Result<Opened<N>, String> {
        set_log_level(LogLevel::Fatal);
        let node = NodeBuilder::new()
            .config(&self.config)
            .signal_handling_mode(SignalHandlingMode::Disabled)
            .create::<ipc::Service>()
            .map_err(|error| text("node")(&error))?;
        let name: ServiceName = self.service.as_str().try_into().map_err(|_| "iceoryx2: a name it does not like")?;
        let messages = node
            .service_builder(&name)
            .publish_subscribe::<[u8; N]>()
            .max_publishers(1)
            .max_subscribers(1)
            .max_nodes(2)
            .history_size(0)
            .subscriber_max_buffer_size(self.places)
            .subscriber_max_borrowed_samples(1)
            .enable_safe_overflow(false)
            .open_or_create()
            .map_err(|error| text("service")(&error))?;
        let events = match self.mode {
            Mode::Polled => None,
            Mode::Blocking => {
                let events = node.service_builder(&name).event().open_or_create();
                Some(events.map_err(|error| text("event service")(&error))?)
            }
        };
        Ok(Opened { messages, events, _node: node })
    }
}

pub(super) struct Writer<const N: usize> {
    publisher: Publisher<ipc::Service, [u8; N], ()>,
    notifier: Option<Notifier<ipc::Service>>,
    _opened: Opened<N>,
}

pub(super) struct Reader<const N: usize> {
    subscriber: Subscriber<ipc::Service, [u8; N], ()>,
    listener: Option<Listener<ipc::Service>>,
    _opened: Opened<N>,
}

impl<const N: usize> Transport<N> for PublishSubscribe {
    type Sender = Writer<N>;
    type Receiver = Reader<N>;

    fn make(plan: &Plan) -> Result<Self, String> {
        let mut config = Config::default();
        let root = root();
        let path = Path::new(root.as_os_str().as_encoded_bytes()).map_err(|error| text("path")(&error))?;
        config.global.set_root_path(&path);
        // Nobody here is dead, and what is left is swept: a side that begins is not to be taken for a dead one, which
        // the other would remove.
        config.global.node.cleanup_dead_nodes_on_creation = false;
        config.global.node.cleanup_dead_nodes_on_destruction = false;
        config.global.service.cleanup_dead_nodes_on_open = false;
        // Each side waits for what the other creates; on a busy machine that takes its time.
        config.global.creation_timeout = DEADLINE / 2;
        config.global.prefix = FileName::new(prefix().as_bytes()).map_err(|error| text("prefix")(&error))?;
        let service = format!("monshm-bench/{}", SERVICES.fetch_add(1, Ordering::Relaxed));
        Ok(Self { config, service, places: plan.places(N)?, mode: plan.mode })
    }

    fn sender(self, _: Side) -> Result<Writer<N>, String> {
        let opened = self.open::<N>()?;
        let publisher = opened
            .messages
            .publisher_builder()
            .max_loaned_samples(1)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .map_err(|error| text("publisher")(&error))?;
        let notifier = opened.events.as_ref().map(|events| events.notifier_builder().create()).transpose();
        let notifier = notifier.map_err(|error| text("notifier")(&error))?;
        Ok(Writer { publisher, notifier, _opened: opened })
    }

    fn receiver(self, _: Side) -> Result<Reader<N>, String> {
        let opened = self.open::<N>()?;
        let subscriber = opened.messages.subscriber_builder().create().map_err(|error| text("subscriber")(&error))?;
        let listener = opened.events.as_ref().map(|events| events.listener_builder().create()).transpose();
        let listener = listener.map_err(|error| text("listener")(&error))?;
        Ok(Reader { subscriber, listener, _opened: opened })
    }

    fn sweep() {
        let _ = std::fs::remove_dir_all(root());
        let Ok(names) = std::fs::read_dir("/dev/shm") else { return };
        let prefix = prefix();
        for name in names.flatten() {
            if name.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = std::fs::remove_file(name.path());
            }
        }
    }
}

impl<const N: usize> Sender<N> for Writer<N> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        let mut sample = self.publisher.loan_uninit().expect("a place to write to");
        sample.payload_mut().write(*message);
        // SAFETY: all of it was written by the line above.
        let delivered = unsafe { sample.assume_init() }.send().expect("no fault");
        if delivered == 0 {
            // The buffer is full, and the subscriber has not connected yet: it does so at its first look.
            return false;
        }
        if let Some(notifier) = &self.notifier {
            notifier.notify().expect("no fault");
        }
        true
    }
}

impl<const N: usize> Receiver<N> for Reader<N> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        loop {
            if let Some(sample) = self.subscriber.receive().expect("no fault") {
                *message = *sample.payload();
                return true;
            }
            let Some(listener) = &self.listener else { return false };
            listener.blocking_wait(|_| {}).expect("no fault");
        }
    }
}
