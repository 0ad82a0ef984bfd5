//! A real Apache Kafka broker in KRaft mode, on loopback, for as long as a test lasts.
//!
//! Its jars are where `BURSAR_TEST_KAFKA_LIBS` says; `tests/run` fetches them. Without them the
//! tests that want a broker say that they are left out; librdkafka's mock cluster covers what it
//! can of the same behaviour.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use crate::support::{PATIENCE, until};

/// What the broker's settings are made of; a user and password for SASL.
pub(crate) const USER: &str = "bursar";
pub(crate) const PASSWORD: &str = "correct horse";

/// Heap of the broker.
const HEAP: &str = "-Xmx512m";

/// A broker, and its files.
pub(crate) struct Broker {
    libs: PathBuf,
    folder: TempDir,
    pub(crate) address: String,
    /// The same broker behind TLS and SCRAM.
    pub(crate) secure_address: String,
    /// The same broker, for those who show a token.
    pub(crate) token_address: String,
    child: Option<Child>,
}

impl Broker {
    /// Starts one; `None`, and a loud word, where there are no jars.
    pub(crate) fn start(left_out: &str) -> Option<Self> {
        let Some(libs) = env::var_os("BURSAR_TEST_KAFKA_LIBS") else {
            eprintln!(
                "LEFT OUT for want of a real broker: {left_out} (BURSAR_TEST_KAFKA_LIBS is not \
                 set; tests/run sets it)"
            );
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let [plain, secure, token, controller] = free_ports();
        let mut broker = Self {
            libs: fs::canonicalize(libs).unwrap(),
            folder,
            address: format!("127.0.0.1:{plain}"),
            secure_address: format!("127.0.0.1:{secure}"),
            token_address: format!("127.0.0.1:{token}"),
            child: None,
        };
        broker.certify();
        let text = broker.properties(controller);
        fs::write(broker.path("server.properties"), text).unwrap();
        let scram = format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]");
        let format = broker
            .java("kafka.tools.StorageTool")
            .args(["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"])
            .arg(broker.path("server.properties"))
            .args(["--add-scram", &scram])
            .output()
            .unwrap();
        assert!(format.status.success(), "{}", String::from_utf8_lossy(&format.stderr));
        broker.run();
        Some(broker)
    }

    /// Starts the broker's process, on the data that is there.
    pub(crate) fn run(&mut self) {
        let mut command = self.java("kafka.Kafka");
        command.arg(self.path("server.properties"));
        let log = fs::File::create(self.path("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let consumer: BaseConsumer = self.client().create().unwrap();
        until("the broker", PATIENCE, || {
            consumer.fetch_metadata(None, Duration::from_millis(500)).ok()
        });
    }

    /// Kills the broker's process.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn create(&self, topic: &str, partitions: i32) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let (admin, options) = (self.admin(), AdminOptions::new());
        let done = wait(admin.create_topics([&new], &options)).unwrap();
        assert!(done.iter().all(Result::is_ok), "{done:?}");
    }

    /// Grows a topic to so many partitions.
    pub(crate) fn grow(&self, topic: &str, partitions: usize) {
        let new = NewPartitions::new(topic, partitions);
        let (admin, options) = (self.admin(), AdminOptions::new());
        let done = wait(admin.create_partitions([&new], &options)).unwrap();
        assert!(done.iter().all(Result::is_ok), "{done:?}");
    }

    /// Sends messages to partitions in turn, each once, and waits for the broker's word.
    pub(crate) fn produce<'a>(
        &self,
        topic: &str,
        partitions: i32,
        messages: impl Iterator<Item = &'a [u8]>,
    ) {
        self.produce_dated(topic, partitions, None, messages);
    }

    /// The same, dated by the producer.
    pub(crate) fn produce_dated<'a>(
        &self,
        topic: &str,
        partitions: i32,
        ms: Option<i64>,
        messages: impl Iterator<Item = &'a [u8]>,
    ) {
        let producer: BaseProducer = self
            .client()
            .set("linger.ms", "50")
            .set("compression.type", "lz4")
            .set("enable.idempotence", "true")
            .create()
            .unwrap();
        for (partition, payload) in (0..partitions).cycle().zip(messages) {
            let mut record =
                BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(payload);
            record.timestamp = ms;
            while let Err((_, back)) = producer.send(record) {
                producer.poll(Duration::from_millis(100));
                record = back;
            }
            producer.poll(Duration::ZERO);
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// Sends messages over some seconds, each once however often the broker dies meanwhile.
    pub(crate) fn produce_slowly(
        client: &ClientConfig,
        topic: &str,
        partitions: i32,
        messages: &[String],
    ) {
        let producer: BaseProducer =
            client.clone().set("enable.idempotence", "true").create().unwrap();
        for lot in messages.chunks(500) {
            for (partition, payload) in (0..partitions).cycle().zip(lot) {
                let record = BaseRecord::<[u8], [u8]>::to(topic);
                let record = record.partition(partition).payload(payload.as_bytes());
                producer.send(record).map_err(|(error, _)| error).unwrap();
            }
            producer.poll(Duration::from_millis(20));
        }
        producer.flush(PATIENCE).unwrap();
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address).set("log_level", "2");
        config
    }

    /// How many members a consumer group has.
    pub(crate) fn members(&self, group: &str) -> usize {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let list = consumer.fetch_group_list(Some(group), PATIENCE).unwrap();
        list.groups().iter().map(|group| group.members().len()).sum()
    }

    /// The certificate that the broker shows, which is its own authority.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.path("broker.pem")
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command.args([HEAP, "-cp"]).arg(self.libs.join("*")).arg(class);
        command.current_dir(self.folder.path());
        command
    }

    /// A key of its own, by the tool that every Java brings.
    fn certify(&self) {
        let store = self.path("broker.p12");
        let keytool = |args: &[&str]| {
            let done = Command::new("keytool").args(args).arg("-keystore").arg(&store).output();
            let done = done.unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
            done.stdout
        };
        let common = ["-storetype", "PKCS12", "-storepass", PASSWORD, "-alias", "broker"];
        let new = ["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-dname"];
        let names = ["CN=localhost", "-ext", "SAN=ip:127.0.0.1,dns:localhost"];
        keytool(&[&new[..], &names, &common].concat());
        let pem = keytool(&[&["-exportcert", "-rfc"][..], &common].concat());
        fs::write(self.certificate(), pem).unwrap();
    }

    fn properties(&self, controller: u16) -> String {
        let Self { address, secure_address, token_address, .. } = self;
        let (data, store) = (self.path("data"), self.path("broker.p12"));
        let (data, store) = (data.display(), store.display());
        format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://{address},SASL_SSL://{secure_address},TOKEN://{token_address},\
             CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://{address},SASL_SSL://{secure_address},\
             TOKEN://{token_address}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,\
             SASL_SSL:SASL_SSL,TOKEN:SASL_PLAINTEXT\n\
             sasl.enabled.mechanisms=SCRAM-SHA-512\n\
             listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.token.sasl.enabled.mechanisms=OAUTHBEARER\n\
             listener.name.token.oauthbearer.connections.max.reauth.ms=2000\n\
             listener.name.token.oauthbearer.sasl.jaas.config=\
             org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
             unsecuredLoginStringClaim_sub=\"broker\";\n\
             ssl.keystore.location={store}\n\
             ssl.keystore.password={PASSWORD}\n\
             ssl.keystore.type=PKCS12\n\
             log.dirs={data}\n\
             auto.create.topics.enable=false\n\
             log.retention.ms=-1\n\
             offsets.topic.num.partitions=4\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n"
        )
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn wait<T>(done: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(done)
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
