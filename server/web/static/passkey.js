// What a page cannot do without a script: passkey ceremonies, the secret of an
// address's fragment, and copying what is shown once.

// Bytes are base64url without padding on the wire.
const encode = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
const decode = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0))

// Problem is a refusal of the server: a stable code, what happened, what to do.
export class Problem extends Error {
  constructor(code, text, fix) {
    super([text, fix].filter(Boolean).join(' '))
    this.code = code
  }
}

// post sends JSON to one of our own endpoints and returns the answer.
export async function post(path, body) {
  let response
  try {
    response = await fetch(path, {
      method: 'POST', credentials: 'same-origin', redirect: 'error',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json' }, body: JSON.stringify(body),
    })
  } catch {
    throw new Problem('unreachable', 'The server could not be reached.', 'Check your connection, then try again.')
  }
  const answer = await response.json().catch(() => ({}))
  if (!response.ok) throw new Problem(answer.code ?? 'internal', answer.detail ?? 'The server could not do this.', answer.fix ?? 'Try again.')
  return answer
}

// The JSON forms of options and responses (WebAuthn Level 3 §5.1.8, §5.1.9), by
// the browser where it has them.
function parse(kind, options) {
  const known = kind === 'create' ? 'parseCreationOptionsFromJSON' : 'parseRequestOptionsFromJSON'
  if (PublicKeyCredential[known]) return PublicKeyCredential[known](options)
  const bytes = (list) => list?.map((one) => ({ ...one, id: decode(one.id) }))
  const parsed = { ...options, challenge: decode(options.challenge) }
  if (options.user) parsed.user = { ...options.user, id: decode(options.user.id) }
  if (options.allowCredentials) parsed.allowCredentials = bytes(options.allowCredentials)
  if (options.excludeCredentials) parsed.excludeCredentials = bytes(options.excludeCredentials)
  return parsed
}

function toJSON(credential) {
  if (credential.toJSON) {
    try { return credential.toJSON() } catch { /* some password managers replace the object */ }
  }
  const from = credential.response, response = { clientDataJSON: encode(from.clientDataJSON) }
  for (const name of ['attestationObject', 'authenticatorData', 'signature', 'userHandle']) {
    if (from[name]) response[name] = encode(from[name])
  }
  if (from.getTransports) response.transports = from.getTransports()
  return {
    id: credential.id, rawId: encode(credential.rawId), type: credential.type, response,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined, clientExtensionResults: credential.getClientExtensionResults(),
  }
}

// One ceremony at a time: the one that waits in the list of names ends when a
// button begins another.
let waiting = null

async function ask(kind, options, mediation) {
  if (!window.PublicKeyCredential) throw new Problem('no-webauthn', 'This browser cannot use passkeys here.', 'Use a current browser, and the server’s https address.')
  waiting?.abort()
  const mine = waiting = new AbortController()
  // The whole document may arrive with publicKey around it, as libraries write it.
  const request = { publicKey: parse(kind, options.publicKey ?? options), signal: mine.signal }
  if (mediation) request.mediation = mediation
  try {
    const credential = await navigator.credentials[kind](request)
    if (!credential) throw new Problem('cancelled', 'Nothing was chosen.', 'Try again when you are ready.')
    return toJSON(credential)
  } finally {
    if (waiting === mine) waiting = null
  }
}

// explain puts what a browser's dialog ended with in words.
function explain(error) {
  if (error instanceof Problem) return error.message
  switch (error.name) {
    case 'NotAllowedError': return 'It was cancelled, or took too long. Nothing was changed; try again when you are ready.'
    case 'InvalidStateError': return 'That device or key has a passkey of this account already. Choose another one.'
    case 'SecurityError': return 'Passkeys do not work at this address. Open the server by its own name, over https.'
    case 'ConstraintError': case 'NotSupportedError': return 'That device or key cannot make such a passkey: it must be able to check a PIN, a finger or a face.'
    case 'AbortError': return ''
  }
  return 'The browser could not do this. Try again; if it stays, try another browser.'
}

export function say(where, text, bad) {
  if (!where) return
  where.textContent = text
  where.classList.toggle('bad', Boolean(bad))
}

const saysOf = (form) => form.querySelector('[data-says]')

function busy(form, on) {
  for (const button of form.querySelectorAll('button')) button.disabled = on
  form.setAttribute('aria-busy', String(on))
}

// verify makes hands fresh unless they are. It is what a form waits for whose
// act adds power.
export async function verify(where) {
  const begun = await post('/verify/begin', { way: 'if-needed' })
  if (begun.fresh) return
  say(where, 'First confirm with your passkey …')
  await post('/verify/finish', { response: await ask('get', begun.options) })
}

const fields = (form) => Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ''))

// finish sends the authenticator's answer and goes on. A credential that the
// server does not know is told to the browser, which stops offering it.
async function finish(path, body, options) {
  try {
    const { next } = await post(path + '/finish', body)
    sessionStorage.removeItem(kept()) // what works once is spent
    location.assign(next)
  } catch (error) {
    const rpId = (options.publicKey ?? options).rpId
    if (error.code === 'passkey-unknown' && rpId) {
      await PublicKeyCredential.signalUnknownCredential?.({ rpId, credentialId: body.response.id }).catch(() => {})
    }
    throw error
  }
}

// present has the agent of the laptop that an invitation is bound to vouch for this
// browser. It holds for two minutes, and an invitation of any laptop needs none.
async function present(form, secret, where) {
  if (form.dataset.laptop === undefined) return {}
  say(where, 'Asking the agent on this laptop …')
  const asked = await post('/invitation/link', { secret })
  const { knock } = await import('./link.js')
  const value = await knock(Number(form.dataset.laptop), asked, 'This invitation works only on the laptop that it was made for.')
  return { id: asked.id, value }
}

async function ceremony(form) {
  const { ceremony: path, kind } = form.dataset, where = saysOf(form), typed = fields(form)
  const needs = typed.secret ? { secret: typed.secret } : {}
  busy(form, true)
  say(where, '')
  waiting?.abort() // or the list in the field might answer meanwhile, too
  try {
    if ('fresh' in form.dataset) await verify(where)
    let here = await present(form, typed.secret, where)
    const { options } = await post(path + '/begin', { ...needs, ...here })
    say(where, kind === 'create' ? 'Your browser asks where to keep the passkey …' : 'Your browser asks for your passkey …')
    const response = await ask(kind, options)
    say(where, 'One moment …')
    try {
      await finish(path, { ...typed, ...here, response }, options)
    } catch (error) {
      if (error.code !== 'invitation-laptop') throw error
      // The dialog took longer than the laptop's word holds; it says it again.
      here = await present(form, typed.secret, where)
      await finish(path, { ...typed, ...here, response }, options)
    }
  } catch (error) {
    say(where, explain(error), true)
    busy(form, false)
    if (form.dataset.conditional !== undefined) offer(form)
  }
}

// A challenge may be answered for five minutes; a page may be open for longer.
const life = 4 * 60 * 1000

// offer lets the browser list passkeys in the field for the name, without a
// dialog (conditional mediation).
async function offer(form) {
  if (!await window.PublicKeyCredential?.isConditionalMediationAvailable?.().catch(() => false)) return
  const begun = await post(form.dataset.ceremony + '/begin', {}).catch(() => null)
  if (!begun || waiting) return // the button says what is wrong, or was quicker
  const { options } = begun
  let renew = 0
  try {
    form.querySelector('.autofill').hidden = false
    const asked = ask('get', options, 'conditional'), mine = waiting
    renew = setTimeout(() => { mine.abort(); offer(form) }, life)
    const response = await asked
    busy(form, true)
    await finish(form.dataset.ceremony, { ...fields(form), response }, options)
  } catch (error) {
    if (error.name === 'AbortError') return // something else goes on in its place
    busy(form, false)
    say(saysOf(form), explain(error), true)
  } finally {
    clearTimeout(renew)
  }
}

// guarded sends a plain form after hands were made fresh.
async function guarded(form) {
  const where = saysOf(form)
  busy(form, true)
  try {
    await verify(where)
    say(where, 'One moment …')
    form.submit()
  } catch (error) {
    say(where, explain(error), true)
    busy(form, false)
  }
}

document.addEventListener('submit', (event) => {
  const form = event.target
  if (form.dataset.ceremony) {
    event.preventDefault()
    ceremony(form)
  } else if ('fresh' in form.dataset) {
    event.preventDefault()
    guarded(form)
  } else if (form.dataset.busy) {
    say(saysOf(form), form.dataset.busy)
  }
})

document.addEventListener('click', async (event) => {
  const button = event.target.closest?.('[data-copy]')
  if (!button) return
  const where = button.parentElement.querySelector('[data-copied]')
  try {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent)
    say(where, 'Copied.')
  } catch {
    say(where, 'The browser did not allow it: select the text and copy it.', true)
  }
})

const kept = () => 'muster' + location.pathname

// The secret of an invitation or recovery: out of the address at once, so that it
// is not in history or a bookmark; kept for this tab, so that a reload goes on.
function secret() {
  const form = document.querySelector('form[data-secret]')
  if (!form) return
  const key = kept(), given = location.hash.slice(1)
  if (given) {
    sessionStorage.setItem(key, given)
    history.replaceState(null, '', location.pathname)
  }
  const value = sessionStorage.getItem(key)
  const missing = document.querySelector('[data-missing]'), ready = document.querySelector('[data-with-secret]')
  if (!value) {
    form.hidden = true
    if (missing) missing.hidden = false
    if (ready) ready.remove() // or it would go on asking
    return
  }
  if (missing) missing.hidden = true
  if (ready) ready.hidden = false
  form.elements.secret.value = value
  document.addEventListener('htmx:afterSwap', () => {
    for (const input of document.querySelectorAll('input[data-keep]')) input.value = value
  })
  htmx.trigger(form, 'secret')
}

// The browser is told which passkeys are left, so that it forgets removed ones.
function signal() {
  const list = document.querySelector('[data-accepted]')
  if (!list?.dataset.rp || !window.PublicKeyCredential?.signalAllAcceptedCredentials) return
  PublicKeyCredential.signalAllAcceptedCredentials({
    rpId: list.dataset.rp, userId: list.dataset.user,
    allAcceptedCredentialIds: list.dataset.ids.split(', ').filter(Boolean),
  }).catch(() => {})
}

// A live part that is asked for again must not lose what somebody began to type,
// or the dialog that waits.
document.addEventListener('htmx:beforeSwap', (event) => {
  // What is over is not asked for again.
  if ([403, 404, 410].includes(event.detail.xhr.status)) document.getElementById('watch')?.remove()
  const target = event.detail.target
  if (target.querySelector('[aria-busy="true"]') || target.contains(document.activeElement) && document.activeElement.matches('input')) event.detail.shouldSwap = false
})

// Modules run before this event, and htmx, which stands before them, wakes by it.
document.addEventListener('DOMContentLoaded', () => {
  secret()
  signal()
  for (const form of document.querySelectorAll('form[data-conditional]')) offer(form)
})
