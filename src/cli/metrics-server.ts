import { UsageError } from '../errors.ts'
import type { Metrics } from '../results/metrics.ts'

/**
 * Answers GET /metrics while a run goes on.
 * @param port - 0 for any that is free
 * @returns its port, and what ends it
 * @throws {UsageError} if the port is taken
 */
export function serveMetrics(metrics: Metrics, port: number): { port: number; close(): void } {
  try {
    const server = Bun.serve({
      port,
      routes: {
        '/metrics': async () =>
          new Response(await metrics.text(), { headers: { 'content-type': metrics.contentType } }),
        '/': () => new Response('rnb: /metrics\n'),
      },
      fetch: () => new Response('not found: /metrics is\n', { status: 404 }),
    })
    return { port: server.port!, close: () => void server.stop(true) }
  } catch (error) {
    throw new UsageError(`--metrics-port ${port}: ${(error as Error).message}`)
  }
}
