// Ties this session to the laptop that the browser is on: by the agent on this
// machine's own loopback, by an address that opens the agent, or by a code.
import { post, say, verify, Problem } from './passkey.js'

// knock asks the agent on this machine to vouch for a request. Browsers that gate
// the loopback want to be told that it is meant; older ones know another word.
export async function knock(port, ask, otherwise = 'Or use a way below.') {
  const url = `http://127.0.0.1:${port}/link`
  const init = {
    method: 'POST', mode: 'cors', credentials: 'omit', cache: 'no-store', redirect: 'error', referrerPolicy: 'no-referrer',
    headers: { 'Content-Type': 'text/plain' }, body: JSON.stringify({ link: ask.id, nonce: ask.nonce }), signal: AbortSignal.timeout(60000),
  }
  let request
  for (const space of ['loopback', 'local', undefined]) {
    try {
      request = new Request(url, space ? { ...init, targetAddressSpace: space } : init)
      break
    } catch { /* not a word of this browser */ }
  }
  let response
  try {
    response = await fetch(request)
  } catch {
    throw new Problem('no-agent', 'The agent on this laptop did not answer.',
      'Allow this site to reach this device if your browser asks, and see that muster-agent runs with link_port set. ' + otherwise)
  }
  const answer = await response.json().catch(() => ({}))
  if (!response.ok || !answer.confirm) {
    throw new Problem(answer.code ?? 'agent-refused', answer.text ?? 'The agent on this laptop refused.', otherwise)
  }
  return answer.confirm
}

// confirm brings what the agent gave. A laptop that is nobody's yet becomes the
// person's, which needs fresh hands: the request waits meanwhile.
async function confirm(where, body) {
  try {
    return (await post('/link/confirm', body)).next
  } catch (error) {
    if (error.code !== 'verify-first') throw error
    await verify(where)
    return (await post('/link/confirm', body)).next
  }
}

// prove links this session by loopback, or proves its link again: no word is
// spoken, so that other pages may use it silently. It returns where to go on.
export async function prove(port, next, where) {
  const ask = await post('/link/begin', { way: 'loopback' })
  const value = await knock(port, ask)
  return confirm(where, { id: ask.id, value, next })
}

const place = document.querySelector('[data-link]')

if (place) {
  const { port, next } = place.dataset
  const where = (way) => place.querySelector(`[data-says="${way}"]`)
  const codeForm = place.querySelector('[data-code]')
  let asked = null // the request by code that waits

  const ways = {
    async loopback(out) {
      say(out, 'Asking the agent on this laptop …')
      location.assign(await prove(Number(port), next, out))
    },
    async app(out) {
      const ask = await post('/link/begin', { way: 'app' })
      say(out, 'The agent opens a page in this browser, where you confirm. If nothing happens within a few seconds, the agent is not installed for this: use a code.')
      location.href = ask.open
    },
    async code(out) {
      asked = await post('/link/begin', { way: 'code' })
      codeForm.hidden = false
      say(out, 'Waiting for your code.')
      codeForm.elements.value.focus()
    },
  }

  const go = async (way, button) => {
    const out = where(way)
    if (button) button.disabled = true
    try {
      await ways[way](out)
    } catch (error) {
      say(out, error instanceof Problem ? error.message : 'The browser could not do this. Use another way.', true)
    } finally {
      if (button) button.disabled = false
    }
  }

  place.addEventListener('click', (event) => {
    const button = event.target.closest('[data-way]')
    if (button) go(button.dataset.way, button)
  })
  codeForm.addEventListener('submit', async (event) => {
    event.preventDefault()
    const out = where('code')
    try {
      location.assign(await confirm(out, { id: asked.id, value: codeForm.elements.value.value.trim(), next }))
    } catch (error) {
      say(out, error instanceof Problem ? error.message : 'The browser could not do this. Try again.', true)
    }
  })
  if ('again' in place.dataset) go('loopback')
}

// The page that the agent opened: its one-time value stands in the fragment, which
// leaves the address at once and waits for the person's word.
const confirmation = document.querySelector('[data-link-confirm]')

if (confirmation) {
  const dot = location.hash.indexOf('.')
  const id = location.hash.slice(1, dot), value = location.hash.slice(dot + 1)
  const button = confirmation.querySelector('[data-confirm]'), out = confirmation.querySelector('[data-says]')
  if (dot < 2 || !value) {
    confirmation.querySelector('[data-missing]').hidden = false
    button.hidden = true
  }
  history.replaceState(null, '', location.pathname)
  button.addEventListener('click', async () => {
    button.disabled = true
    try {
      location.assign(await confirm(out, { id, value }))
    } catch (error) {
      say(out, error instanceof Problem ? error.message : 'The browser could not do this. Try again.', true)
      button.disabled = false
    }
  })
}
