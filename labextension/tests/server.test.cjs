const assert = require('node:assert/strict');
const { mock, test } = require('node:test');

const listeners = {};
globalThis.document = {
  hidden: false,
  visibilityState: 'visible',
  addEventListener: (name, callback) => (listeners[name] = callback),
  removeEventListener: () => undefined
};
const { ApiError } = require('../lib/cjs/apiError.js');
const { sameStudy } = require('../lib/cjs/sameStudy.js');
const { ServerSource } = require('../lib/cjs/serverSource.js');
const { tagsOn } = require('../lib/cjs/card/tags.js');
const { head } = require('./helpers.cjs');

const settled = async () => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

/** A server whose answers are given one by one: `answers` holds a function a question. */
function server(state = 'running') {
  const api = {
    asked: 0,
    answer: () => ({ data: null, etag: '' }),
    notes: [],
    head: async () => {
      api.asked += 1;
      return api.asked === 1 ? { data: head({ study: { state } }), etag: 'a' } : api.answer();
    },
    addNote: async (_, note) => void api.notes.push(note)
  };
  return api;
}

/** Let `seconds` pass, a tenth at a time. */
async function pass(seconds) {
  for (let i = 0; i < 10 * seconds; i++) {
    mock.timers.tick(100);
    await settled();
  }
}

function timed(name, run) {
  test(name, async () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      await run();
    } finally {
      mock.timers.reset();
    }
  });
}

timed('an answer that comes late does not undo a newer one', async () => {
  const api = server();
  const source = await ServerSource.open(api, { home: 'h', name: 'n' });
  const waiting = [];
  api.answer = () => new Promise(resolve => waiting.push(resolve));
  await pass(0.2);
  assert.equal(waiting.length, 1);
  void source.refresh();
  await pass(0.2);
  assert.equal(waiting.length, 2);
  waiting[1]({ data: head({ study: { state: 'finished' } }), etag: 'c' });
  await settled();
  waiting[0]({ data: head({ study: { state: 'running' } }), etag: 'b' });
  await settled();
  assert.equal(source.head().study.state, 'finished');
  source.dispose();
});

timed('a study that may move is asked for every ten seconds at least, however often the server fails', async () => {
  const api = server();
  const source = await ServerSource.open(api, { home: 'h', name: 'n' });
  api.answer = () => Promise.reject(new ApiError('busy', 503));
  await pass(60);
  assert.equal(source.live, 'none');
  for (let i = 0; i < 4; i++) {
    const before = api.asked;
    await pass(10.2);
    assert.ok(api.asked > before, 'a pause of more than ten seconds');
  }
  api.answer = () => Promise.resolve({ data: head({ study: { state: 'finished' } }), etag: 'z' });
  await pass(10.2);
  assert.equal(source.head().study.state, 'finished');
  assert.equal(source.live, 'server');
  source.dispose();
});

timed('a view that fails to draw is no server that fails to answer', async () => {
  const api = server();
  const source = await ServerSource.open(api, { home: 'h', name: 'n' });
  const complaint = mock.method(console, 'error', () => undefined);
  let told = 0;
  source.onChange(() => {
    throw new Error('drawing');
  });
  source.onChange(() => (told += 1));
  api.answer = () => Promise.resolve({ data: head(), etag: String(api.asked) });
  await pass(5);
  assert.ok(told >= 4);
  assert.equal(source.live, 'server');
  complaint.mock.restore();
  source.dispose();
});

timed('nothing is asked while hidden; what is shown again is asked for at once', async () => {
  const api = server('finished');
  let visible = false;
  const source = await ServerSource.open(api, { home: 'h', name: 'n' }, { visible: () => visible });
  await pass(30);
  assert.equal(api.asked, 1);
  visible = true;
  void source.refresh();
  await pass(0.2);
  assert.equal(api.asked, 2);
  listeners.visibilitychange();
  await pass(0.2);
  assert.equal(api.asked, 3);
  source.dispose();
});

timed('a record of a study that has ended asks a few times, then no more until it is asked to', async () => {
  const api = server('finished');
  const source = await ServerSource.open(api, { home: 'h', name: 'n' }, { restingAsks: 3 });
  await pass(120);
  assert.equal(api.asked, 4);
  void source.refresh();
  await pass(0.2);
  assert.equal(api.asked, 5);
  source.dispose();
});

timed('a study that is not here any more is not asked for again', async () => {
  const api = server();
  const source = await ServerSource.open(api, { home: 'h', name: 'n' });
  api.answer = () => Promise.reject(new ApiError('gone', 404));
  await pass(60);
  assert.equal(api.asked, 2);
  assert.equal(source.live, 'none');
  source.dispose();
});

timed('a star is taken back by one request', async () => {
  const api = server();
  const source = await ServerSource.open(api, { home: 'h', name: 'n' });
  void source.note({ trial: 3, kind: 'star', text: '' });
  await pass(0.3);
  assert.deepEqual(api.notes, [{ trial: 3, kind: 'star', text: '' }]);
  source.dispose();
});

test('a copied name is another study', () => {
  const mine = { identity: 'ab', created_at: 1_700_000_000.4 };
  assert.ok(sameStudy(mine, { identity: 'ab', created_at: 1_700_000_000 }));
  assert.ok(sameStudy(mine, { identity: 'ab' }), 'an older record has no moment');
  assert.ok(!sameStudy(mine, { identity: 'ab', created_at: 1_700_000_090 }));
  assert.ok(!sameStudy(mine, { identity: 'cd', created_at: 1_700_000_000 }));
});

test('a tag that two people gave is shown once and knows both notes', () => {
  const note = (id, changes) => ({ id, trial: 2, kind: 'tag', text: 'check', author: id, created_at: 1, ...changes });
  const notes = [note('a'), note('b'), note('c', { text: 'keep' }), note('d', { trial: null }), note('e', { kind: 'comment' })];
  assert.deepEqual(tagsOn(notes, 2), [{ text: 'check', ids: ['a', 'b'] }, { text: 'keep', ids: ['c'] }]);
  assert.deepEqual(tagsOn(notes, null), [{ text: 'check', ids: ['d'] }]);
});
