// Where providers send users back to. The address is RabbitMQ's, which is registered with them; the login goes on in main.js.

location.replace(new URL(`../../${location.search}`, location.href));
