-- embeddings_put: keeps up to 100 vectors.
-- KEYS 1 head  2... the places of the ring, in order
-- ARGV 1 bytes that the whole ring may have  2 ttl (ms)  3... key, vector, key, vector
-- Reply: how many are kept. Repeating changes nothing. Redis full: 0 or few, nothing is half written.
--#include embeddings
local kept = 0
for i = 3, #ARGV, 2 do
	if not embeddings_put(ARGV[i], ARGV[i + 1], tonumber(ARGV[1]), tonumber(ARGV[2])) then break end
	kept = kept + 1
end
return kept
