struct Tags;

impl Tags {
    #[freshdb::test]
    async fn are_stored(&self, engine: freshdb::OrmEngine) {
        drop(engine);
    }
}
