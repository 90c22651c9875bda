// A certified OpenID provider with a real login form, for tests.
// usage: node server.mjs PORT REDIRECT_URI    (prints "ready" when it listens)
import { generateKeyPairSync } from "node:crypto";
import http from "node:http";
import { Provider } from "oidc-provider";

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const users = {
  alice: { password: "alice-pw", groups: ["g_survey", "astronomers"] },
  bob: { password: "bob-pw", groups: [] },
  carol: { password: "carol-pw", groups: ["g_survey"] },
};

// Keys of its own: those that the library brings are public.
const keys = [
  generateKeyPairSync("rsa", { modulusLength: 2048 }),
  generateKeyPairSync("ec", { namedCurve: "P-256" }),
].map(({ privateKey }) => ({ ...privateKey.export({ format: "jwk" }), use: "sig" }));

const client = {
  redirect_uris: [process.argv[3]],
  grant_types: ["authorization_code"],
  response_types: ["code"],
};
const provider = new Provider(issuer, {
  jwks: { keys },
  clients: [
    {
      ...client,
      client_id: "astrolabe",
      client_secret: "secret with spaces: + and %",
      token_endpoint_auth_method: "client_secret_basic",
    },
    { ...client, client_id: "astrolabe-public", token_endpoint_auth_method: "none" },
    {
      ...client,
      client_id: "astrolabe-es256",
      client_secret: "another-secret-for-tests",
      token_endpoint_auth_method: "client_secret_basic",
      id_token_signed_response_alg: "ES256",
    },
  ],
  pkce: { required: () => true },
  claims: {
    openid: ["sub"],
    profile: ["preferred_username", "name", "groups"],
    email: ["email", "email_verified"],
  },
  // As certified: what the scopes allow is told by userinfo, the ID token is short.
  conformIdTokenClaims: true,
  enabledJWA: { idTokenSigningAlgValues: ["RS256", "ES256"] },
  features: { devInteractions: { enabled: false } },
  ttl: { AccessToken: 300, IdToken: 300, Interaction: 600, Session: 3600, Grant: 3600, AuthorizationCode: 60 },
  cookies: { keys: ["only-for-tests"] },
  interactions: { url: (_ctx, interaction) => `/login/${interaction.uid}` },
  findAccount: (_ctx, id) =>
    users[id] && {
      accountId: id,
      claims: () => ({
        sub: id,
        preferred_username: id,
        name: `${id} of the provider`,
        email: `${id}@example.org`,
        email_verified: true,
        groups: users[id].groups,
      }),
    },
});

function form(response, uid, message) {
  response.setHeader("content-type", "text/html; charset=utf-8");
  response.end(
    `<!doctype html><html lang="en"><title>Sign in</title><p>${message}</p>` +
      `<form method="post" action="/login/${uid}"><input name="username"><input name="password" ` +
      `type="password"><button type="submit">Sign in</button></form>`,
  );
}

async function consent(request, response, details) {
  const grant = details.grantId
    ? await provider.Grant.find(details.grantId)
    : new provider.Grant({ accountId: details.session.accountId, clientId: details.params.client_id });
  const { missingOIDCScope, missingOIDCClaims } = details.prompt.details;
  if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(" "));
  if (missingOIDCClaims) grant.addOIDCClaims(missingOIDCClaims);
  const result = { consent: { grantId: await grant.save() } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

async function login(request, response) {
  const details = await provider.interactionDetails(request, response);
  if (details.prompt.name === "consent") return consent(request, response, details);
  if (request.method === "GET") return form(response, details.uid, "");
  let body = "";
  for await (const chunk of request) body += chunk;
  const given = new URLSearchParams(body);
  if (given.get("cancel")) {
    const refusal = { error: "access_denied", error_description: "The user went away" };
    return provider.interactionFinished(request, response, refusal, { mergeWithLastSubmission: false });
  }
  const user = users[given.get("username")];
  if (!user || user.password !== given.get("password")) {
    return form(response, details.uid, "Invalid user name or password");
  }
  const result = { login: { accountId: given.get("username") } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

// The tests change what the provider says of somebody: POST /test/groups?user=alice&groups=a,b
function change(request, response) {
  const given = new URL(request.url, issuer).searchParams;
  users[given.get("user")].groups = given.get("groups").split(",").filter(Boolean);
  response.end("ok");
}

const callback = provider.callback();
http
  .createServer(async (request, response) => {
    try {
      if (request.url.startsWith("/test/groups")) return change(request, response);
      if (request.url.startsWith("/login/")) return await login(request, response);
      return callback(request, response);
    } catch (error) {
      response.statusCode = 400;
      return response.end(String(error));
    }
  })
  .listen(port, "127.0.0.1", () => console.log("ready"));
