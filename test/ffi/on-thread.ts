import { Worker } from 'node:worker_threads'

/** Niceness of the thread that evaluates it: field 19 of proc_pid_stat(5), after the name in brackets. */
export const NICENESS = `Number(require('node:fs').readFileSync('/proc/thread-self/stat', 'utf8').replace(/.*\\) /s, '').split(' ')[16])`

/** What an expression comes to on a thread of its own, after some statements there. */
export const onThread = (statements: string, expression: string): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const program = `${statements}; require('node:worker_threads').parentPort.postMessage(${expression})`
    const thread = new Worker(program, { eval: true })
    thread.on('message', resolve)
    thread.on('error', reject)
  })
