//! The lapin client against a broker at `AMQP_HOST`:`AMQP_PORT`.

mod protocol;
mod tutorials;
mod world;
