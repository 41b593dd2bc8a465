use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// What a real client sends first.
fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls_pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same message in records of `size` bytes.
fn in_records(bytes: &[u8], size: usize) -> Vec<u8> {
    let body = bytes[RECORD_HEADER..].chunks(size).map(|chunk| {
        let length = u16::try_from(chunk.len()).unwrap().to_be_bytes();
        [&[HANDSHAKE, 3, 1, length[0], length[1]], chunk].concat()
    });
    body.collect::<Vec<_>>().concat()
}

#[test]
fn names_of_real_clients_however_they_are_cut() {
    let whole = hello("Shop.Example");
    for size in [1, 3, 7, 100, 5000] {
        let bytes = in_records(&whole, size);
        assert_eq!(server_name(&bytes), Ok(Some("shop.example".to_owned())), "records of {size}");
        for end in 0..bytes.len() {
            assert_eq!(server_name(&bytes[..end]), Ok(None), "records of {size}, {end} bytes");
        }
    }
    // An address is no server name.
    assert_eq!(server_name(&hello("127.0.0.1")), Ok(Some(String::new())));
}

#[test]
fn what_is_no_hello_is_refused_at_once() {
    for bytes in
        [&b"GET / HTTP/1.1\r\n"[..], b"G", b"\x16\x02\x01\x00\x01", b"\x16\x03\x01\x00\x00", b"\x15\x03\x01\x00\x02"]
    {
        assert!(server_name(bytes).is_err(), "{bytes:?}");
    }
    // A ServerHello, and a ClientHello that says it is longer than any.
    assert!(server_name(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00").is_err());
    assert!(server_name(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff").is_err());
}

proptest! {
    #[test]
    fn nothing_panics_and_more_bytes_never_change_an_answer(
        at in 0usize..400,
        byte in any::<u8>(),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = hello("shop.example");
        let at = at % bytes.len();
        bytes[at] = byte;
        let answer = server_name(&bytes);
        if let Ok(Some(name)) = &answer {
            let more = [&bytes[..], &noise].concat();
            prop_assert_eq!(server_name(&more), Ok(Some(name.clone())));
        }
        let _ = server_name(&noise);
        let _ = server_name(&[&b"\x16\x03\x01\x01\x00\x01\x00\x00\xf0"[..], &noise].concat());
    }
}
