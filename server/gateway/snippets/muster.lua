-- muster's check for HAProxy 2.6 or later. haproxy.cfg beside it says how to load it;
-- MUSTER_ORIGIN and MUSTER_SECRET_FILE are set there.
--
-- The action "muster APPLICATION" asks muster about a request. It sets the variable
-- txn.muster to "allowed" as the last thing that it does, and only after muster said
-- so; haproxy.cfg lets nothing pass without it. So an error in this file denies, too.

local origin, secret_file = os.getenv("MUSTER_ORIGIN"), os.getenv("MUSTER_SECRET_FILE")
assert(origin and secret_file, "muster.lua needs MUSTER_ORIGIN and MUSTER_SECRET_FILE")

local file = assert(io.open(secret_file, "r"))
local secret = file:read("l")
file:close()
assert(secret and secret:match("^[%w_-]+$"), "the file of the gateway's secret holds something else")

-- How long one try waits for a decision, in milliseconds. Late is no. httpclient tries
-- four times, so a request waits for four times as long; HAProxy 2.8 and later can be
-- told otherwise (httpclient.retries).
local patience = 500

local identity = {
{{- range .Identity}}
    "{{.Lower}}",
{{- end}}
}

-- What muster is told of the client's own headers, beside Cookie.
local told = { "accept", "user-agent", "sec-fetch-mode", "sec-fetch-dest", "x-requested-with" }

-- What of a refusal goes to the client.
local refusal = { "location", "www-authenticate", "content-type", "cache-control", "retry-after", "vary" }

-- all returns the values of one header in their order; HAProxy counts from 0.
local function all(headers, name)
    local values, i = {}, 0
    while headers[name] and headers[name][i] do
        values[#values + 1] = headers[name][i]
        i = i + 1
    end
    return values
end

-- without_ours returns the cookies without muster's own, or nil where none is left.
local function without_ours(values)
    local kept = {}
    for _, value in ipairs(values) do
        for pair in value:gmatch("[^;]+") do
            pair = pair:match("^%s*(.-)%s*$")
            if pair ~= "" and not pair:find("__Host-muster", 1, true) then
                kept[#kept + 1] = pair
            end
        end
    end
    if #kept == 0 then
        return nil
    end
    return table.concat(kept, "; ")
end

local function answer(txn, status, headers, body)
    local reply = txn:reply({ status = status })
    for name, value in pairs(headers) do
        reply:add_header(name, value)
    end
    if txn.sf:method() ~= "HEAD" then
        reply:set_body(body)
    end
    txn:done(reply)
end

local function away(txn)
    answer(txn, 503, {
        ["content-type"] = "text/plain", ["cache-control"] = "no-store", ["retry-after"] = "5",
    }, "{{.Away}}\n")
end

core.register_action("muster", { "http-req" }, function(txn, app)
    local headers = txn.http:req_get_headers()

    -- One WebSocket upgrade passes, and nothing else of the kind. What a client names
    -- in Connection, somebody on the way may take away, as muster's headers.
    local upgrade = all(headers, "upgrade")
    local socket = #upgrade == 1 and upgrade[1]:lower() == "websocket"
    txn.http:req_del_header("connection")
    txn.http:req_del_header("upgrade")
    if socket then
        txn.http:req_set_header("connection", "upgrade")
        txn.http:req_set_header("upgrade", "websocket")
    end

    -- Of two Hosts, or none, nobody knows which the application believes.
    local host = all(headers, "host")
    if #host ~= 1 then
        answer(txn, 400, { ["content-type"] = "text/plain" }, "One Host header is needed.\n")
        return
    end

    local question = {
        ["authorization"] = { "Bearer " .. secret },
        ["x-forwarded-method"] = { txn.sf:method() },
        ["x-forwarded-uri"] = { txn.sf:pathq() },
        ["x-forwarded-host"] = { host[1] },
        ["x-forwarded-for"] = { txn.sf:src() },
    }
    if socket then
        question["x-forwarded-upgrade"] = { "websocket" }
    end
    local cookies = all(headers, "cookie")
    if #cookies > 0 then
        question["cookie"] = { table.concat(cookies, "; ") }
    end
    for _, name in ipairs(told) do
        local values = all(headers, name)
        if #values > 0 then
            question[name] = values
        end
    end

    local response = core.httpclient():get({
        url = origin .. "/check/haproxy/" .. app, headers = question, timeout = patience,
    })
    local status = response and response.status or 0

    if status == 200 then
        -- An answer without an outcome is somebody else's.
        local outcome = all(response.headers, "x-muster-outcome")
        if #outcome ~= 1 or (outcome[1] ~= "allow" and outcome[1] ~= "restrict") then
            return away(txn)
        end
        for _, name in ipairs(identity) do
            txn.http:req_set_header(name, all(response.headers, name)[1] or "")
        end
        txn.http:req_del_header("cookie")
        local left = without_ours(cookies)
        if left then
            txn.http:req_set_header("cookie", left)
        end
        txn:set_var("txn.muster", "allowed")
    elseif status == 303 or status == 401 or status == 403 then
        local passed = {}
        for _, name in ipairs(refusal) do
            passed[name] = all(response.headers, name)[1]
        end
        return answer(txn, status, passed, response.body or "")
    else
        return away(txn)
    end
end, 1)
