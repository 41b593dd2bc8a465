//! Instructions of user space for one request, by callgrind: on a busy machine nearly the same as
//! on an idle one. Two runs differ only in the number of requests.

use std::{fs, process::Command, time::Duration};

use color_eyre::{
    Result,
    eyre::{WrapErr, eyre},
};

use crate::{Bench, Contestant, client, machine, proxies::HOST};

const FEW: usize = 500;
const MANY: usize = 3_000;

pub async fn report(bench: &Bench<'_>) -> Result<()> {
    println!("\n## instructions\n");
    let Some(valgrind) = machine::find("valgrind") else {
        println!("valgrind is not installed: no instruction counts");
        return Ok(());
    };
    let (few, many) = (count(bench, &valgrind, FEW).await?, count(bench, &valgrind, MANY).await?);
    let each = many.saturating_sub(few) / (MANY - FEW) as u64;
    println!("small, one kept connection: {each} instructions of user space a request");
    Ok(())
}

async fn count(bench: &Bench<'_>, valgrind: &std::path::Path, requests: usize) -> Result<u64> {
    let mut proxy = bench.proxies.first().cloned().ok_or_else(|| eyre!("no gwproxy"))?;
    let out = bench.dir.join(format!("callgrind-{requests}"));
    let valgrind = valgrind.display().to_string();
    proxy.under = vec![valgrind, "--tool=callgrind".to_owned(), format!("--callgrind-out-file={}", out.display())];
    let Contestant { mut running, listens, .. } = bench.start(&proxy, 1).await?;
    let request = format!("GET /api/small HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: versus\r\naccept: */*\r\n\r\n");
    let mut stream = client::connect(listens.http1).await?;
    let mut buffer = Vec::new();
    for _ in 0..requests {
        client::exchange(&mut stream, request.as_bytes(), &mut buffer).await?;
    }
    drop(stream);
    Command::new("kill").args(["-TERM", &running.pid().to_string()]).status()?;
    for _ in 0..600 {
        if running.has_ended() {
            let text = fs::read_to_string(&out).wrap_err("callgrind wrote nothing")?;
            let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
            return total.and_then(|total| total.trim().parse().ok()).ok_or_else(|| eyre!("callgrind wrote no total"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(eyre!("gwproxy under callgrind did not end"))
}
