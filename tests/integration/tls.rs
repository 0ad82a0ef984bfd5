//! The HTTP server by TLS: who is let in by their certificate, and who is not.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::ExtendedKeyUsagePurpose;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType};
use rcgen::{IsCa, KeyPair, date_time_ymd};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Daemon, PATIENCE, bursar, run, until};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Files of a certificate by an authority that is good until the end of a year: chain and key.
fn certificate(folder: &Path, name: &str, by: &Authority, until_year: i32) -> [PathBuf; 2] {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until_year, 12, 31);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let signed = params.signed_by(&key, by).unwrap();
    let paths = ["pem", "key"].map(|ending| folder.join(format!("{name}.{ending}")));
    fs::write(&paths[0], signed.pem()).unwrap();
    fs::write(&paths[1], key.serialize_pem()).unwrap();
    paths
}

/// The answer to a request by somebody who shows this certificate, or why there is none.
fn ask(
    daemon: &Daemon,
    trusted: &Authority,
    shown: Option<&[PathBuf; 2]>,
    request: &str,
) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some([chain, key]) => {
            let chain = CertificateDer::pem_file_iter(chain).unwrap().map(Result::unwrap);
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            builder.with_client_auth_cert(chain.collect(), key).unwrap()
        }
    };
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(daemon.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let mut answer = String::new();
    let asked =
        stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
    // The other side need not say good-bye.
    if answer.is_empty() {
        Err(asked.map_or_else(|error| error.to_string(), |_| String::new()))
    } else {
        Ok(answer)
    }
}

const METRICS: &str = "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";

#[test]
fn certificates_are_asked_for_and_those_that_are_expired_or_foreign_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let server = certificate(folder.path(), "server", &ours, 2099);
    let good = certificate(folder.path(), "good", &ours, 2099);
    let guest = certificate(folder.path(), "guest", &ours, 2099);
    let expired = certificate(folder.path(), "expired", &ours, 2021);
    let foreign = certificate(folder.path(), "foreign", &theirs, 2099);
    fs::write(folder.path().join("ca.pem"), ours.pem()).unwrap();
    let der = CertificateDer::from_pem_file(&good[0]).unwrap();
    let digest = bursar::observe::access::fingerprint(der.as_ref());
    let line = format!("ci change certificate {}", bursar::observe::access::hex(&digest));
    fs::write(folder.path().join("access"), line).unwrap();
    let mut command = bursar(["run"]);
    command.env("BURSAR__SERVER__TLS_CERTIFICATE", &server[0]);
    command.env("BURSAR__SERVER__TLS_KEY", &server[1]);
    command.env("BURSAR__SERVER__TLS_CLIENT_CA", folder.path().join("ca.pem"));
    command.env("BURSAR__SERVER__ACCESS_FILE", folder.path().join("access"));
    let daemon = Daemon::start(&mut command);

    let answer = ask(&daemon, &ours, Some(&guest), METRICS).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("bursar_build_info"));
    for refused in [None, Some(&expired), Some(&foreign)] {
        assert!(ask(&daemon, &ours, refused, METRICS).is_err(), "{refused:?}");
    }
    for why in
        ["CertificateRequired|no certificates", "Expired|expired", "UnknownIssuer|unknown issuer"]
    {
        until(why, PATIENCE, || {
            let said = daemon.said();
            why.split('|').any(|word| said.contains(word)).then_some(())
        });
    }
    let stop = "POST /api/v1/actions/stop HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
                Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let answer = ask(&daemon, &ours, Some(&guest), stop).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let answer = ask(&daemon, &ours, Some(&good), stop).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202") && answer.contains("\"ci\""), "{answer}");
    // Whoever speaks no TLS is not answered.
    assert!(!daemon.raw(METRICS).contains("HTTP/1.1 200"));
}

#[test]
fn certificates_of_no_use_are_told_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority("ours");
    let [chain, key] = certificate(folder.path(), "server", &ours, 2099);
    let [_, other_key] = certificate(folder.path(), "other", &ours, 2099);
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    for (chain, key, told) in [
        (&empty, &key, "no certificate in it"),
        (&chain, &empty, "server.tls_key"),
        (&chain, &other_key, "server.tls_certificate"),
        (&folder.path().join("none"), &key, "server.tls_certificate"),
    ] {
        let mut command = bursar(["run"]);
        command.env("BURSAR__SERVER__TLS_CERTIFICATE", chain).env("BURSAR__SERVER__TLS_KEY", key);
        let done = run(command.env("BURSAR__SERVER__LISTEN", "127.0.0.1:0"));
        assert_eq!(done.code(), Some(1), "{done:?}");
        assert!(done.stderr.contains(told), "{told}: {done:?}");
        assert!(!done.stderr.contains("PRIVATE"), "{done:?}");
    }
}
