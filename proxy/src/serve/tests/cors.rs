use super::*;
use crate::table::{
    Cors,
    cors::{Allowed, Origin},
};

fn cors(origins: &[&str], credentials: bool, list: fn(&'static str) -> Allowed) -> Option<Box<Cors>> {
    Some(Box::new(Cors {
        origins: origins.iter().map(|origin| Origin::parse(origin).unwrap()).collect(),
        credentials,
        methods: list("GET, OPTIONS"),
        headers: list("x-one, x-two"),
        expose: Some(HeaderValue::from_static("x-three")),
        max_age: HeaderValue::from_static("60"),
    }))
}

#[tokio::test]
async fn preflights_are_answered_and_requests_marked() {
    let echo = Echo::start().await;
    let plane = Plane::with(|registry| {
        let these = |list| Allowed::These(HeaderValue::from_static(list));
        let mut rules = Vec::new();
        for (path, cors) in [
            ("/named", cors(&["https://a.com", "https://*.b.com"], true, these)),
            ("/public", cors(&["*"], false, |_| Allowed::Any)),
            ("/any-with-credentials", cors(&["*"], true, |_| Allowed::Any)),
        ] {
            let mut rule = forward(registry, &[echo.address]);
            rule.cors = cors;
            rule.response_headers.set.push((HeaderName::from_static("x-filter"), HeaderValue::from_static("yes")));
            // The backend's own word does not count.
            rule.response_headers.set.push((
                HeaderName::from_static("access-control-allow-origin"),
                HeaderValue::from_static("https://backend.example"),
            ));
            rules.push(("", path, rule));
        }
        rules
    })
    .await;
    let preflight = |path: &str, origin: &str| {
        Request::options(path)
            .header("host", "h")
            .header("origin", origin)
            .header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "x-nine")
    };
    let told = |headers: &::http::HeaderMap, name: &str| {
        headers.get(format!("access-control-{name}")).map(|value| value.to_str().unwrap().to_owned())
    };

    let (status, headers, body) = plane.send(preflight("/named", "https://x.b.com")).await;
    assert_eq!((status.as_u16(), body.as_str()), (204, ""));
    for (name, value) in [
        ("allow-origin", "https://x.b.com"),
        ("allow-credentials", "true"),
        ("allow-methods", "GET, OPTIONS"),
        ("allow-headers", "x-one, x-two"),
        ("expose-headers", "x-three"),
        ("max-age", "60"),
    ] {
        assert_eq!(told(&headers, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(headers["vary"], "Origin");

    let (status, headers, _) = plane.send(preflight("/named", "https://evil.com")).await;
    assert_eq!(status, 204);
    assert!(headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{headers:?}");

    let (_, headers, _) = plane.send(preflight("/public", "https://evil.com")).await;
    assert_eq!(told(&headers, "allow-origin").as_deref(), Some("*"));
    assert_eq!(told(&headers, "allow-methods").as_deref(), Some("*"));
    assert_eq!(told(&headers, "allow-credentials"), None);

    let (_, headers, _) = plane.send(preflight("/any-with-credentials", "https://evil.com")).await;
    assert_eq!(told(&headers, "allow-origin").as_deref(), Some("https://evil.com"));
    assert_eq!(told(&headers, "allow-methods").as_deref(), Some("PUT"));
    assert_eq!(told(&headers, "allow-headers").as_deref(), Some("x-nine"));
    assert_eq!(echo.served.load(Relaxed), 0, "no preflight reaches the backend");

    let get = |origin: &str| Request::get("/named").header("host", "h").header("origin", origin);
    let (_, headers, _) = plane.send(get("https://a.com")).await;
    assert_eq!(told(&headers, "allow-origin").as_deref(), Some("https://a.com"));
    assert_eq!(headers["x-filter"], "yes");
    let (status, headers, _) = plane.send(get("https://evil.com")).await;
    assert_eq!((status.as_u16(), told(&headers, "allow-origin")), (200, None));
    // OPTIONS of another kind belong to the backend.
    let options = Request::options("/named").header("host", "h").header("origin", "https://a.com");
    assert!(plane.send(options).await.2.starts_with("OPTIONS /named"));
}
