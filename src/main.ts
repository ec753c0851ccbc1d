import { isMainThread } from 'node:worker_threads'

// One entry point, from source and compiled: the command line on the main thread, a role on a worker thread.
if (isMainThread) {
  const { main } = await import('./cli/main.ts')
  await main(process.argv.slice(2))
} else {
  const { work } = await import('./pipeline/worker.ts')
  await work()
}
