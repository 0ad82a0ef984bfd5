//! The daemon: source, pipeline and HTTP server, from start to graceful stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel::Receiver;
use prometheus::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::act::dry_run::DryRun;
use crate::act::hands::Hands;
use crate::act::virtual_platform::VirtualActuator;
use crate::act::webhook::{Delivery, Messenger};
use crate::config::settings::{InputKind, Settings};
use crate::control::action::{ActuatorKind, OutcomeKind, Verb};
use crate::control::settings::Mode;
use crate::decode::{self, Ignored, Reason};
use crate::engine::accounts::Accounts;
use crate::engine::alarm::{Channel, Severity};
use crate::observe::access::{self, Access};
use crate::observe::api::ApiState;
use crate::observe::http;
use crate::observe::metrics::{Labels, Metrics};
use crate::observe::orders::{Counter, Order, Signed, Waiting};
use crate::observe::view::View;
use crate::simulation::embedded::{self, EmbeddedWorld};
use crate::source::file::{FileSettings, FileSource};
use crate::source::platform::PlatformSource;
use crate::source::{Clock, Source};

use super::clock::{self, Present};
use super::dead_letter::{DeadLetters, Postbox};
use super::feed::{Fed, Feed};
use super::gauges::Gauges;
use super::pipeline::{Defaults, Parts, Pipeline};
use super::reach::Reach;
use super::recorder::{Recorder, Sink};
use super::state::{Keeper, Kept};
use super::wiring;

/// How long the pipeline waits for messages before it looks at the clock.
const WAIT: Duration = Duration::from_millis(100);
/// A graceful stop takes at most this long; container runtimes allow ten seconds by default.
const GRACE: Duration = Duration::from_secs(8);
/// Exit code after a second signal, as a shell would report SIGINT.
const INTERRUPTED: i32 = 130;

/// Where lines go.
#[derive(Default)]
pub struct Sinks {
    /// Decisions as JSON lines.
    pub decisions: Option<Sink>,
    /// The ledger as JSON lines.
    pub ledger: Option<Sink>,
    /// Plain words.
    pub narration: Option<Sink>,
}

impl std::fmt::Debug for Sinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sinks").finish_non_exhaustive()
    }
}

/// Runs until the input ends or a signal comes; then restores what is restricted.
///
/// # Errors
/// What keeps it from starting, or a source or engine that has died.
pub fn run(settings: &Settings, sinks: Sinks) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(settings, sinks))
}

async fn serve(settings: &Settings, sinks: Sinks) -> anyhow::Result<()> {
    let (counter, orders) = Counter::open();
    let api = Arc::new(api_state(settings, counter)?);
    let tls = wiring::tls(&settings.server)?;
    let listener = match settings.server.enabled {
        true => Some(http::bind(settings.server.listen).await?),
        false => None,
    };
    let kept = Kept::open(settings)?;
    let positions = kept.as_ref().map_or(&[][..], Kept::positions);
    let (source, (hands, adopted)) = input(settings, positions)?;
    let stop = Arc::new(AtomicBool::new(false));
    let goes_on = kept.as_ref().is_some_and(|kept| kept.found.is_some());
    let mut pipeline = pipeline(settings, sinks, hands, Arc::clone(&api), goes_on)?;
    if let Some(kept) = &kept {
        kept.regain(&mut pipeline)?;
    }
    let keeper = kept.map(|kept| kept.start(&api)).transpose()?;
    pipeline.adopt(adopted, clock::as_event_time(clock::wall()));
    if let Some(listener) = &listener {
        let address = listener.local_addr()?;
        pipeline.recorder().say(&welcome(settings, Some(address)));
    } else {
        pipeline.recorder().say(&welcome(settings, None));
    }
    let feed = Feed::start(source, settings.queue_chunks, Arc::clone(&stop))?;
    let (done, mut finished) = oneshot::channel();
    let worker = {
        let (stop, api) = (Arc::clone(&stop), Arc::clone(&api));
        std::thread::Builder::new().name("pipeline".into()).spawn(move || {
            let result = drive(pipeline, feed, keeper, &orders, &stop, &api);
            // The receiver is gone only when the process is on its way out.
            drop(done.send(result));
        })?
    };
    let (quiet, shutdown) = oneshot::channel::<()>();
    let server = listener.map(|listener| {
        let shutdown = async {
            drop(shutdown.await);
        };
        tokio::spawn(http::serve(listener, tls, api, shutdown))
    });
    let result = tokio::select! {
        result = &mut finished => result.context("the pipeline has died, see the log")?,
        () = signalled() => {
            tracing::info!("stopping: restrictions are given back, what was read is finished");
            stop.store(true, Ordering::Relaxed);
            tokio::select! {
                result = finished => result.context("the pipeline has died, see the log")?,
                () = tokio::time::sleep(GRACE) => Err(anyhow::anyhow!(
                    "the pipeline did not stop within {GRACE:?}; what was read last is not finished"
                )),
                () = signalled() => std::process::exit(INTERRUPTED),
            }
        }
    };
    drop(quiet);
    if let Some(server) = server {
        server.await??;
    }
    if worker.is_finished() && worker.join().is_err() {
        anyhow::bail!("the pipeline has died, see the log");
    }
    result
}

/// The pipeline on a thread of its own, from the first message to the last word. Whatever ends it,
/// restrictions are given back before anything is waited for.
fn drive(
    mut pipeline: Pipeline,
    feed: Feed,
    mut keeper: Option<Keeper>,
    orders: &Receiver<Waiting>,
    stop: &AtomicBool,
    api: &ApiState,
) -> anyhow::Result<()> {
    let outcome = read(&mut pipeline, &feed, keeper.as_mut(), orders, stop, api);
    pipeline.restore_all(clock::as_event_time(clock::wall()));
    let goes_on = keeper.is_some() && stop.load(Ordering::Relaxed);
    if let Some(keeper) = keeper {
        keeper.finish(&mut pipeline, api)?;
    }
    drop(feed);
    // Minutes that the next process goes on with must not be closed by this one.
    if goes_on {
        pipeline.pause()?;
    } else {
        pipeline.finish()?;
    }
    outcome
}

fn read(
    pipeline: &mut Pipeline,
    feed: &Feed,
    mut keeper: Option<&mut Keeper>,
    orders: &Receiver<Waiting>,
    stop: &AtomicBool,
    api: &ApiState,
) -> anyhow::Result<()> {
    let mut gauges = Gauges::begin(pipeline);
    let mut stopping = false;
    api.view.set_ready("input", false, "nothing has been read yet");
    loop {
        let fed = feed.next(WAIT);
        pipeline.attend();
        for waiting in orders.try_iter() {
            let taken = pipeline.obey(&waiting.signed);
            waiting.answer(taken);
        }
        if !stopping && stop.load(Ordering::Relaxed) {
            stopping = true;
            pipeline.restore_all(clock::as_event_time(clock::wall()));
        }
        let idle = !matches!(fed, Some(Fed::Chunk(..)));
        match fed {
            Some(Fed::Chunk(chunk, lanes, progress)) => {
                pipeline.not_idle();
                if let Some(lanes) = lanes {
                    pipeline.set_lanes(lanes);
                }
                let began = clock::elapsed();
                let through = pipeline.chunk(&chunk)?;
                api.metrics.batch.observe((clock::elapsed() - began).as_secs_f64());
                let through = match &keeper {
                    Some(keeper) => keeper.acknowledged(pipeline, through),
                    None => through,
                };
                feed.done(chunk, through);
                api.view.set_ready("input", true, "reading");
                pipeline.streamed(progress.stream);
                gauges.note(progress);
            }
            Some(Fed::Idle(None, progress)) => {
                pipeline.streamed(progress.stream);
                gauges.note(progress);
                pipeline.silent()?;
                pipeline.idle(clock::elapsed())?;
                api.view.set_ready("input", true, "nothing to read");
            }
            // Records may be waiting behind a source that is not well: time stands still.
            Some(Fed::Idle(Some(why), progress)) => {
                pipeline.streamed(progress.stream);
                gauges.note(progress);
                pipeline.unwell();
                api.view.set_ready("input", false, why);
            }
            None if stopping => return Ok(()),
            None => pipeline.not_idle(),
            Some(Fed::End) => return Ok(()),
            Some(Fed::Failed(error)) => return Err(error.into()),
        }
        if let Some(keeper) = &mut keeper {
            keeper.attend(pipeline, api, idle)?;
        }
        gauges.publish(pipeline, feed, &api.metrics);
    }
}

/// The source, which goes on behind `positions`, and the way to act.
fn input(
    settings: &Settings,
    positions: &[(String, Option<u64>)],
) -> anyhow::Result<(Box<dyn Source>, Reach)> {
    let clock = Clock { wall: clock::wall, elapsed: clock::elapsed };
    let dry_run = || (Hands::here(Box::new(DryRun)), Vec::new());
    match settings.input.kind {
        InputKind::Embedded => {
            let start = clock::as_event_time(clock::wall());
            let world = EmbeddedWorld::new(settings.input.embedded_seed, start)?;
            let world = Arc::new(Mutex::new(world));
            let reach = match settings.control.mode {
                Mode::Approve | Mode::Enforce => {
                    let actuator = VirtualActuator::new(Arc::clone(&world));
                    (Hands::here(Box::new(actuator)), Vec::new())
                }
                Mode::Observe => dry_run(),
            };
            Ok((Box::new(PlatformSource::new(world, clock)), reach))
        }
        InputKind::Files => {
            let files = FileSettings::default();
            let mut source = FileSource::open(&settings.input.files, decode::first_time, files)?;
            source.resume(positions);
            Ok((Box::new(source), dry_run()))
        }
        #[cfg(feature = "kafka")]
        InputKind::Kafka => {
            Ok((kafka(settings, positions, clock)?, super::reach::reach(settings)?))
        }
        #[cfg(not(feature = "kafka"))]
        InputKind::Kafka => anyhow::bail!(
            "input.kind is kafka, but this bursar was built without it; build with --features kafka"
        ),
        #[cfg(feature = "kinesis")]
        InputKind::Kinesis => Ok((kinesis(settings, clock)?, super::reach::reach(settings)?)),
        #[cfg(not(feature = "kinesis"))]
        InputKind::Kinesis => anyhow::bail!(
            "input.kind is kinesis, but this bursar was built without it; \
             build with --features kinesis"
        ),
    }
}

#[cfg(feature = "kafka")]
fn kafka(
    settings: &Settings,
    positions: &[(String, Option<u64>)],
    clock: Clock,
) -> anyhow::Result<Box<dyn Source>> {
    use crate::config::settings::KafkaStart;
    use crate::source::kafka::{KafkaSettings, KafkaSource, Start};

    let given = &settings.input.kafka;
    let kafka = KafkaSettings {
        bootstrap_servers: given.brokers.join(","),
        topics: given.topics.clone(),
        group: given.group.clone(),
        start: match (given.start, given.start_time) {
            (KafkaStart::Earliest, _) => Start::Earliest,
            (KafkaStart::Timestamp, Some(time)) => Start::At(time),
            (KafkaStart::Latest | KafkaStart::Timestamp, _) => Start::Latest,
        },
        properties: given.properties.clone(),
        token: token(given)?,
        ..KafkaSettings::default()
    };
    let mut source = KafkaSource::open(kafka, decode::first_time, clock)?;
    source.resume(positions);
    Ok(Box::new(source))
}

/// Where the token comes from that is shown to brokers, if one is.
#[cfg(feature = "kafka")]
fn token(
    given: &crate::config::settings::KafkaSettings,
) -> anyhow::Result<Option<crate::source::kafka::token::TokenSource>> {
    use crate::config::settings::KafkaToken;
    use crate::source::kafka::token::TokenSource;

    match given.token {
        KafkaToken::None => Ok(None),
        KafkaToken::File => Ok(given.token_file.clone().map(TokenSource::File)),
        #[cfg(feature = "aws")]
        KafkaToken::AwsMskIam => {
            let region = (!given.token_region.is_empty()).then(|| given.token_region.clone());
            Ok(Some(TokenSource::MskIam { region }))
        }
        #[cfg(not(feature = "aws"))]
        KafkaToken::AwsMskIam => anyhow::bail!(
            "input.kafka.token is aws_msk_iam, but this bursar was built without it; \
             build with --features aws"
        ),
    }
}

#[cfg(feature = "kinesis")]
fn kinesis(settings: &Settings, clock: Clock) -> anyhow::Result<Box<dyn Source>> {
    use crate::config::settings::KinesisStart;
    use crate::source::kinesis::{KinesisSettings, KinesisSource, Start};

    let given = &settings.input.kinesis;
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let kinesis = KinesisSettings {
        stream: given.stream.clone(),
        region: some(&given.region),
        endpoint: some(&given.endpoint),
        consumer_arn: some(&given.consumer_arn),
        start: match (given.start, given.start_time) {
            (KinesisStart::TrimHorizon, _) => Start::TrimHorizon,
            (KinesisStart::AtTimestamp, Some(time)) => Start::AtTimestamp(time),
            (KinesisStart::Latest | KinesisStart::AtTimestamp, _) => Start::Latest,
        },
        checkpoint_file: given.checkpoint_file.clone(),
        polls_per_second: given.polls_per_second,
        ..KinesisSettings::default()
    };
    Ok(Box::new(KinesisSource::open(kinesis, decode::first_time, clock)?))
}

fn api_state(settings: &Settings, counter: Counter) -> anyhow::Result<ApiState> {
    let labels = |names: &[&'static str]| names.to_vec();
    let mut rejected: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    rejected.extend(super::door::REASONS);
    let registry = Registry::new();
    let metrics = Metrics::try_new(
        &registry,
        &Labels {
            rejected: &rejected,
            ignored: &Ignored::ALL.map(Ignored::as_str),
            channels: &Channel::ALL.map(Channel::as_str),
            severities: &labels(&[Severity::Notice.as_str(), Severity::Page.as_str()]),
            verbs: &Verb::ALL.map(Verb::as_str),
            outcomes: &OutcomeKind::ALL.map(OutcomeKind::as_str),
            actuators: &ActuatorKind::ALL.map(ActuatorKind::as_str),
        },
        settings.metrics.top_functions,
    )?;
    let server = &settings.server;
    if let Some(path) = &server.access_file {
        access::check(path)?;
    }
    Ok(ApiState {
        access: server.access_file.clone().map(|path| Access::by(path, clock::elapsed)),
        read_needs_key: server.read_needs_key,
        hosts: server.hosts.clone(),
        orders: Some(counter),
        ..ApiState::read_only(Arc::new(metrics), Arc::new(View::default()))
    })
}

fn pipeline(
    settings: &Settings,
    sinks: Sinks,
    hands: Hands,
    api: Arc<ApiState>,
    goes_on: bool,
) -> anyhow::Result<Pipeline> {
    let prices = wiring::prices(settings)?;
    // What was learned from history is part of the state, once there is one.
    let baselines = settings.baselines_file.as_deref().filter(|_| !goes_on);
    let (intake, shards) = wiring::engine(settings, &prices.card, baselines)?;
    let mut recorder = Recorder::new()
        .with_decisions(sinks.decisions)
        .with_ledger(sinks.ledger)
        .with_narration(sinks.narration)
        .with_messenger(messenger(settings, &api)?)
        .with_api(Some(api));
    recorder.run(&wiring::run_line(settings, prices.version));
    let dead = DeadLetters::open(
        settings.output.dead_letters.as_deref(),
        settings.output.dead_letter_bytes_max,
        settings.output.dead_letters_per_reason_max,
    )?
    .with_postbox(postbox(settings)?);
    // Log envelopes do not name their region.
    let region = match settings.input.kind {
        InputKind::Embedded => embedded::REGION.to_owned(),
        InputKind::Kafka | InputKind::Kinesis | InputKind::Files => settings.input.region.clone(),
    };
    Ok(Pipeline::new(Parts {
        defaults: Defaults {
            account: settings.input.account,
            region,
            function: settings.input.function.clone(),
            exclude: wiring::excluded(settings),
        },
        intake,
        shards,
        accounts: Accounts::new(settings.detection.clone()),
        bills: prices.bills,
        footprint: prices.footprint,
        control: wiring::control(settings),
        hands,
        recorder,
        dead,
        batch_records: settings.batch_records,
        present: match settings.input.kind {
            InputKind::Files => Present::Recorded,
            InputKind::Embedded | InputKind::Kafka | InputKind::Kinesis => Present::Wall,
        },
    }))
}

/// Posts decisions to webhooks, if there are any. What they acknowledge comes back as an order.
fn messenger(settings: &Settings, api: &Arc<ApiState>) -> anyhow::Result<Option<Messenger>> {
    if settings.webhooks.is_empty() {
        return Ok(None);
    }
    let api = Arc::clone(api);
    let now = || clock::as_event_time(clock::wall());
    let messenger = Messenger::start(&settings.webhooks, now, move |delivery| {
        let outcome = if delivery == Delivery::Failed { "failed" } else { "delivered" };
        api.metrics.webhooks.add(&[outcome], 1);
        if let (Delivery::Acknowledged { id, by, detail }, Some(orders)) = (delivery, &api.orders) {
            let (who, order) = ("webhook".to_owned(), Order::Acknowledge(id));
            let taken = orders.drop_in(Signed { order, who, from: by, why: detail });
            if !taken {
                tracing::warn!("too many acknowledgements are waiting, one is not written down");
            }
        }
    })?;
    Ok(Some(messenger))
}

/// Where dead letters are sent, if they are.
fn postbox(settings: &Settings) -> anyhow::Result<Option<Box<dyn Postbox>>> {
    let output = &settings.output;
    if output.dead_letter_topic.is_empty() {
        return Ok(None);
    }
    #[cfg(feature = "kafka")]
    {
        use super::dead_letter::topic::Topic;
        use crate::source::kafka::token::Tokens;

        let (kafka, name) = (&settings.input.kafka, &output.dead_letter_topic);
        let bytes_max = output.dead_letter_bytes_max;
        let tokens = token(kafka)?.map(|source| Tokens::new(source, clock::wall));
        let topic = Topic::open(&kafka.brokers, &kafka.properties, tokens, name, bytes_max);
        Ok(Some(Box::new(topic.context("output.dead_letter_topic cannot be used")?)))
    }
    #[cfg(not(feature = "kafka"))]
    anyhow::bail!(
        "output.dead_letter_topic is set, but this bursar was built without Kafka; \
         build with --features kafka"
    )
}

fn welcome(settings: &Settings, address: Option<std::net::SocketAddr>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let what = match settings.input.kind {
        InputKind::Embedded => {
            "a virtual platform inside this process (two hours of its past are read first)"
        }
        InputKind::Kafka => "Kafka",
        InputKind::Kinesis => "Kinesis",
        InputKind::Files => "files",
    };
    let mode = match settings.control.mode {
        Mode::Observe => "observe: it says what it would do and changes nothing",
        Mode::Approve => "approve: it acts on what people have approved",
        Mode::Enforce if settings.input.kind == InputKind::Embedded => {
            "enforce: it acts, on the virtual platform only"
        }
        Mode::Enforce => "enforce: it caps functions through the Lambda API",
    };
    let address = address.map_or("no HTTP server".to_owned(), |address| {
        let scheme = if settings.server.tls_certificate.is_some() { "https" } else { "http" };
        format!(
            "{scheme}://{address}/metrics and /api/v1/{{functions,alarms,restrictions,actions}}"
        )
    });
    format!("bursar {version} watches {what}\nmode {mode}\n{address}\n")
}

/// Waits for SIGINT, SIGTERM or SIGHUP: a closed terminal must not leave restrictions behind.
async fn signalled() {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "signals cannot be waited for");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}
