//! Memory of connections that have been used once and then do nothing.

use color_eyre::Result;

use crate::{Bench, Contestant, client, proxies::HOST};

pub async fn report(bench: &Bench<'_>) -> Result<()> {
    let wanted = bench.args.idle;
    println!("\n## idle ({wanted} connections, each used once)\n");
    println!("| proxy | RSS before MB | after MB | bytes a connection |\n|-|-|-|-|");
    let request = format!("GET /api/small HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    for proxy in &bench.proxies {
        let Contestant { running, listens, .. } = match bench.start(proxy, 1).await {
            Ok(started) => started,
            Err(error) => {
                println!("| {} | {error} |", proxy.name);
                continue;
            }
        };
        let before = running.rss();
        let mut open = Vec::with_capacity(wanted);
        let mut buffer = Vec::new();
        for at in 0..wanted {
            let asked = async {
                let mut stream = client::connect(listens.http1).await?;
                client::exchange(&mut stream, request.as_bytes(), &mut buffer).await?;
                Ok::<_, color_eyre::Report>(stream)
            };
            match asked.await {
                Ok(stream) => open.push(stream),
                Err(error) => {
                    println!("| {} | connection {at} failed: {error} |", proxy.name);
                    break;
                }
            }
        }
        if open.len() < wanted {
            continue;
        }
        let after = running.rss();
        let each = after.saturating_sub(before) as f64 / wanted as f64;
        println!("| {} | {:.1} | {:.1} | {each:.0} |", proxy.name, before as f64 / 1e6, after as f64 / 1e6);
        // Reset, so that the ports are free for the next proxy.
        for stream in open {
            stream.set_zero_linger()?;
        }
    }
    Ok(())
}
