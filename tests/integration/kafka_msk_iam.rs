//! The daemon shows Amazon MSK a token, to a listener in this process that speaks as much of Kafka
//! as a login needs and computes the signature by itself.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use sha2::{Digest as _, Sha256};

use crate::support::{Daemon, PATIENCE, bursar};

const REGION: &str = "eu-west-1";
const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SESSION: &str = "FwoGZXIvYXdzEJr//session+token==";

// What of Kafka's protocol comes before and with a login (kafka.apache.org/protocol, "The
// Messages"); the versions are the oldest that the client knows.
const METADATA: i16 = 3;
const HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const AUTHENTICATE: i16 = 36;
const VERSIONS: [[i16; 3]; 4] =
    [[METADATA, 0, 4], [HANDSHAKE, 1, 1], [API_VERSIONS, 0, 0], [AUTHENTICATE, 0, 0]];
const UNSUPPORTED_VERSION: i16 = 35;
const NO_ERROR: i16 = 0;

/// Lets one client log in; gives what it showed once it goes on with something else.
fn log_in(mut client: TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let (mut mechanism, mut shown) = (String::new(), Vec::new());
    loop {
        let mut size = [0; 4];
        client.read_exact(&mut size)?;
        let mut request = vec![0; u32::from_be_bytes(size) as usize];
        client.read_exact(&mut request)?;
        let number = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
        // Behind the key, the version and the correlation, the client's name.
        let body = &request[10 + number(8).unsigned_abs() as usize..];
        let answer = match (number(0), number(2)) {
            (API_VERSIONS, version) => {
                let error = if version == 0 { NO_ERROR } else { UNSUPPORTED_VERSION };
                let ranges = VERSIONS.iter().flatten().flat_map(|number| number.to_be_bytes());
                let mut answer = error.to_be_bytes().to_vec();
                answer.extend(length(VERSIONS.len()));
                answer.extend(ranges);
                answer
            }
            (HANDSHAKE, _) => {
                mechanism = String::from_utf8_lossy(&body[2..]).into_owned();
                b"\0\0\0\0\0\x01\0\x0bOAUTHBEARER".to_vec()
            }
            (AUTHENTICATE, _) => {
                shown = body[4..].to_vec();
                // No error, no words about it, nothing more to show.
                b"\0\0\xff\xff\0\0\0\0".to_vec()
            }
            _ => return Ok((mechanism, shown)),
        };
        client.write_all(&length(answer.len() + 4))?;
        client.write_all(&request[4..8])?;
        client.write_all(&answer)?;
    }
}

fn length(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap().to_be_bytes()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let hash =
        |pad: u8, text: &[u8]| Sha256::digest([&block.map(|byte| byte ^ pad), text].concat());
    hash(0x5c, &hash(0x36, text.as_bytes())).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The signature that the service computes from the other parameters ("Create a signed AWS API
/// request", AWS IAM User Guide).
fn signature(parameters: &[&str], date: &str) -> String {
    let day = date.split('T').next().unwrap();
    let mut sorted = parameters.to_vec();
    sorted.sort_unstable();
    let request = format!(
        "GET\n/\n{}\nhost:kafka.{REGION}.amazonaws.com\n\nhost\n{}",
        sorted.join("&"),
        hex(&Sha256::digest(b""))
    );
    let scope = format!("{day}/{REGION}/kafka-cluster/aws4_request");
    let hash = hex(&Sha256::digest(request));
    let key = format!("AWS4{SECRET_KEY}").into_bytes();
    let key = scope.split('/').fold(key, |key, part| hmac(&key, part));
    hex(&hmac(&key, &format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}")))
}

#[test]
fn amazon_msk_is_shown_a_token_that_it_would_sign_alike() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, logins) = mpsc::channel();
    // Ends with the process.
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            thread::spawn(move || log_in(client).map(|login| sender.send(login)));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("bursar.toml");
    let text = format!(
        "[input]\nkind = \"kafka\"\n[input.kafka]\nbrokers = [\"{address}\"]\n\
         topics = [\"costs\"]\ntoken = \"aws_msk_iam\"\ntoken_region = \"{REGION}\"\n\
         [input.kafka.properties]\n\"security.protocol\" = \"sasl_plaintext\"\n"
    );
    fs::write(&config, text).unwrap();
    let mut command = bursar(["run", "--config"]);
    command.arg(&config).env("AWS_SESSION_TOKEN", SESSION);
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let daemon = Daemon::start(&mut command);
    let (mechanism, shown) = logins.recv_timeout(PATIENCE).unwrap();
    drop(daemon.stop());

    assert_eq!(mechanism, "OAUTHBEARER");
    let shown = String::from_utf8(shown).unwrap();
    let token = shown.strip_prefix("n,,\x01auth=Bearer ").unwrap();
    let token = token.strip_suffix("\x01\x01").unwrap();
    let url = BASE64_URL_SAFE_NO_PAD.decode(token).unwrap();
    let url = String::from_utf8(url).unwrap();
    let query = url.strip_prefix("https://kafka.eu-west-1.amazonaws.com/?").unwrap();
    let (signed, agent) = query.split_once("&User-Agent=").unwrap();
    assert!(agent.starts_with("bursar%2F"), "{agent}");
    let beginning = "X-Amz-Signature=";
    let (given, rest): (Vec<&str>, Vec<&str>) =
        signed.split('&').partition(|parameter| parameter.starts_with(beginning));
    let of = |name: &str| rest.iter().find_map(|parameter| parameter.strip_prefix(name)).unwrap();
    assert_eq!(of("Action="), "kafka-cluster%3AConnect");
    assert_eq!(of("X-Amz-Expires="), "900");
    assert!(of("X-Amz-Credential=").starts_with(ACCESS_KEY), "{url}");
    assert_eq!(of("X-Amz-Security-Token="), "FwoGZXIvYXdzEJr%2F%2Fsession%2Btoken%3D%3D");
    assert_eq!(given, [format!("{beginning}{}", signature(&rest, of("X-Amz-Date=")))]);
}
