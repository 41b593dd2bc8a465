//! The local API: durable writes, a long list, many watchers. In wall time, for that is what its
//! clients wait for: figures of a machine that others use are an upper bound.

use std::time::{Duration, Instant};

use color_eyre::Result;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config,
    api::{ListParams, PostParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{Bench, Contestant, figures::median};

const OBJECTS: usize = 10_000;
const AT_ONCE: usize = 64;
const WATCHERS: usize = 500;
const LISTS: usize = 7;

pub async fn report(bench: &Bench<'_>) -> Result<()> {
    println!("\n## api ({OBJECTS} ConfigMaps, {AT_ONCE} writes at a time, {WATCHERS} watchers)\n");
    let Some(own) = bench.proxies.first() else { return Ok(()) };
    let Contestant { running, dir, .. } = bench.start(own, 1).await?;
    let file = Kubeconfig::read_from(dir.join("data/kubeconfig"))?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let map = |name: String| ConfigMap {
        metadata: kube::api::ObjectMeta { name: Some(name), ..Default::default() },
        data: Some([("key".to_owned(), "x".repeat(200))].into()),
        ..Default::default()
    };

    let (began, cpu) = (Instant::now(), running.cpu()?);
    let params = PostParams::default();
    stream::iter(0..OBJECTS)
        .map(|at| {
            let (maps, params, map) = (&maps, &params, map(format!("m{at}")));
            async move { maps.create(params, &map).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    let wall = began.elapsed().as_secs_f64();
    let used = (running.cpu()? - cpu).as_micros() as f64 / OBJECTS as f64;
    println!("| what | measured |\n|-|-|");
    println!("| durable writes a second | {:.0} ({used:.0} us CPU each) |", OBJECTS as f64 / wall);

    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for _ in 0..LISTS {
        let (began, cpu) = (Instant::now(), running.cpu()?);
        let listed = maps.list_metadata(&ListParams::default()).await?;
        assert!(listed.items.len() >= OBJECTS, "the list is not whole");
        walls.push(began.elapsed().as_secs_f64() * 1e3);
        cpus.push((running.cpu()? - cpu).as_secs_f64() * 1e3);
    }
    println!("| list of their metadata, ms | {:.0} ({:.0} ms CPU of the server) |", median(&walls), median(&cpus));

    let version = maps.list_metadata(&ListParams::default().limit(1)).await?.metadata.resource_version;
    let version = version.unwrap_or_default();
    let mut watches = Vec::new();
    for _ in 0..WATCHERS {
        watches.push(maps.watch(&WatchParams::default(), &version).await?.boxed());
    }
    let mut heard = Vec::new();
    for at in 0..5 {
        let began = Instant::now();
        maps.create(&params, &map(format!("watched-{at}"))).await?;
        let all = watches.iter_mut().map(|watch| async move {
            while let Some(event) = watch.try_next().await? {
                if matches!(event, WatchEvent::Added(_)) {
                    break;
                }
            }
            Ok::<_, kube::Error>(())
        });
        tokio::time::timeout(Duration::from_secs(20), futures::future::try_join_all(all)).await??;
        heard.push(began.elapsed().as_secs_f64() * 1e3);
    }
    println!("| from a write until the last of {WATCHERS} watchers has heard, ms | {:.0} |", median(&heard));
    println!("| RSS MB | {:.0} |", running.rss() as f64 / 1e6);
    Ok(())
}
