#[freshdb::test(flavor = "multi_thread", start_paused = true)]
async fn the_clock_of_many_threads(engine: freshdb::OrmEngine) {
    drop(engine);
}

#[freshdb::test(worker_threads = 2)]
async fn threads_of_one_thread(engine: freshdb::OrmEngine) {
    drop(engine);
}

#[freshdb::test(runtime = "shared", flavor = "multi_thread")]
async fn shared_threads(engine: freshdb::OrmEngine) {
    drop(engine);
}
