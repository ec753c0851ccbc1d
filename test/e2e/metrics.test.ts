import { expect, test } from 'bun:test'
import { binary, demo, root, scratch } from './rnb.ts'

test('a running job answers with its metrics, and stops when it ends', async () => {
  const flags = ['-c', demo.config, '-v', '20', '-mi', '100', '--metrics-port', '0', '--log-dir', scratch()]
  const child = Bun.spawn([binary, ...flags], { cwd: root, stdout: 'ignore', stderr: 'pipe' })
  let said = ''
  let url: string | undefined
  const decoder = new TextDecoder()
  const reader = child.stderr.getReader()
  while (!url) {
    const { value, done } = await reader.read()
    if (done) throw new Error(`it ended: ${said}`)
    said += decoder.decode(value)
    url = /metrics: (\S+)/.exec(said)?.[1]
  }
  const rest = (async () => {
    while (!(await reader.read()).done);
  })()
  const answer = await fetch(url)
  expect(answer.headers.get('content-type')).toStartWith('text/plain; version=0.0.4')
  expect(await answer.text()).toContain('rnb_queue_capacity{queue="filename"} 500')
  expect((await fetch(new URL('/other', url))).status).toBe(404)
  expect(await child.exited).toBe(0)
  await rest
  expect(fetch(url)).rejects.toThrow()
})

test('a port that is taken is named before anything starts', () => {
  const server = Bun.serve({ port: 0, fetch: () => new Response() })
  const { port } = server
  const { exitCode, stderr } = Bun.spawnSync(
    [binary, '-c', demo.config, '-v', '2', '--metrics-port', String(port), '--log-dir', scratch()],
    { cwd: root },
  )
  server.stop(true)
  expect(exitCode).toBe(2)
  expect(stderr.toString()).toContain(`--metrics-port ${port}`)
})
