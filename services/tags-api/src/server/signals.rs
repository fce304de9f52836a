//! Being asked to stop.

use std::io;

use tokio::sync::oneshot;

/// Listens for SIGTERM and Ctrl-C from now on; what it gives is ready when one has come. A Ctrl-C after that ends the
/// process at once, whatever it does.
///
/// # Errors
///
/// If the system refuses. Call it inside a runtime.
#[cfg(unix)]
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (asked, stop) = oneshot::channel();
    // A task, because signals must be heard also while nobody waits for the future.
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tell(asked);
        interrupt.recv().await;
        end_at_once();
    });
    Ok(async { drop(stop.await) })
}

/// Listens for Ctrl-C from now on; what it gives is ready when it has come. A second one ends the process at once,
/// whatever it does.
///
/// # Errors
///
/// If the system refuses. Call it inside a runtime.
#[cfg(windows)]
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    let (asked, stop) = oneshot::channel();
    // A task, because signals must be heard also while nobody waits for the future.
    tokio::spawn(async move {
        interrupt.recv().await;
        tell(asked);
        interrupt.recv().await;
        end_at_once();
    });
    Ok(async { drop(stop.await) })
}

fn tell(asked: oneshot::Sender<()>) {
    tracing::info!("asked to stop");
    // Whoever does not listen any more has ended already.
    asked.send(()).ok();
}

/// Whoever asks twice does not want to wait.
fn end_at_once() {
    std::process::exit(130);
}
