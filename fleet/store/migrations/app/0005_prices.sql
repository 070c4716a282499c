-- Azure's list prices, in US dollars per hour. Without a price: the last try found none. "signature": an HMAC
-- with the sealing key, because the VMs' role may write the table.
CREATE TABLE powerlift_fleet_price (
    key text PRIMARY KEY,
    price double precision,
    found_at timestamptz,
    signature text,
    tried_at timestamptz NOT NULL DEFAULT now());
-- What a fleet may cost at most, in US dollars.
ALTER TABLE powerlift_fleet ADD COLUMN reserved_cost double precision;
