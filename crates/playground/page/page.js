'use strict';
(async () => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId('data').textContent);
  const models = data.models;
  const status = byId('status');
  const fail = (error) => {
    status.className = 'failed';
    status.textContent = 'The generator cannot run here: ' + error;
    console.error(error);
  };

  // The module and the generators.
  const bytesOf = (id) => {
    const text = atob(byId(id).textContent);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
    return bytes;
  };
  let wasm;
  try {
    wasm = (await WebAssembly.instantiate(bytesOf('module'))).instance.exports;
    models.forEach((model, index) => {
      const bytes = bytesOf('model-' + index);
      const at = wasm.input(bytes.length);
      new Uint8Array(wasm.memory.buffer, at, bytes.length).set(bytes);
      if (wasm.load() !== index) throw new Error('the weights are damaged');
      byId('model-' + index).remove();
    });
  } catch (error) {
    fail(error);
    return;
  }

  // Latent vectors. A call of the module may move its memory, so every result is copied at once.
  const noise = (seed) => {
    const at = wasm.noise(BigInt(seed), data.latent);
    return new Float32Array(wasm.memory.buffer, at, data.latent).slice();
  };
  const slerp = (a, b, t) => {
    let [dot, aa, bb] = [0, 0, 0];
    a.forEach((x, i) => { dot += x * b[i]; aa += x * x; bb += b[i] * b[i]; });
    const angle = Math.acos(Math.min(1, Math.max(-1, dot / Math.sqrt(aa * bb))));
    const isParallel = !(Math.sin(angle) > 1e-6);
    const share = (x) => (isParallel ? x : Math.sin(x * angle) / Math.sin(angle));
    return a.map((x, i) => x * share(1 - t) + b[i] * share(t));
  };
  const times = [];
  const image = (model, z, label) => {
    const started = performance.now();
    const { width, height, classes } = models[model];
    const at = wasm.latent(z.length);
    new Float32Array(wasm.memory.buffer, at, z.length).set(z);
    const from = wasm.generate(model, classes ? label % classes : 0);
    const pixels = new Uint8ClampedArray(wasm.memory.buffer, from, width * height * 4).slice();
    times.push(performance.now() - started);
    return new ImageData(pixels, width, height);
  };

  // Settings.
  const whole = (input) => Math.max(0, Math.min(9007199254740000, Math.floor(Number(input.value)) || 0));
  const truncation = () => Number(byId('truncation').value);
  let chosenClass = -1;
  const labelOf = (seed) => (chosenClass >= 0 ? chosenClass : data.classes.length ? seed % data.classes.length : 0);
  const scaled = (seed) => noise(seed).map((x) => x * truncation());

  // Canvases: one for each generator in each place.
  const GAP = 2;
  const place = (id) => models.map((model) => {
    const figure = document.createElement('figure');
    const caption = document.createElement('figcaption');
    const canvas = document.createElement('canvas');
    caption.textContent = model.name;
    if (models.length > 1) figure.append(caption);
    canvas.setAttribute('role', 'img');
    figure.append(canvas);
    byId(id).append(figure);
    return canvas;
  });
  const places = Object.fromEntries(['samples', 'one', 'between', 'path'].map((id) => [id, place(id)]));

  // A job draws a few images at a time, so that the page stays responsive. A new job for a place replaces the old one.
  const SLICE = 24;
  const jobs = {};
  const done = (id) => {
    delete jobs[id];
    const last = times.slice(-64).sort((a, b) => a - b);
    const median = last[Math.floor(last.length / 2)];
    status.textContent = 'One image takes ' + median.toFixed(median < 10 ? 1 : 0) + ' ms in this browser.';
    document.body.dataset.idle = Object.keys(jobs).length === 0;
  };
  const draw = (id, columns, vectors, label, about) => {
    const job = (jobs[id] = {});
    const rows = Math.ceil(vectors.length / columns);
    document.body.dataset.idle = false;
    places[id].forEach((canvas, index) => {
      const { width, height, name } = models[index];
      const size = [columns * (width + GAP) - GAP, rows * (height + GAP) - GAP];
      if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
      canvas.setAttribute('aria-label', about + (models.length > 1 ? ', ' + name : ''));
    });
    let next = 0;
    const step = () => {
      if (jobs[id] !== job) return;
      const started = performance.now();
      try {
        while (next < vectors.length && performance.now() - started < SLICE) {
          const [column, row] = [next % columns, Math.floor(next / columns)];
          const z = vectors[next]();
          places[id].forEach((canvas, index) => {
            const { width, height } = models[index];
            canvas.getContext('2d').putImageData(image(index, z, label(next)), column * (width + GAP), row * (height + GAP));
          });
          next += 1;
        }
      } catch (error) {
        fail(error);
        return;
      }
      if (next < vectors.length) setTimeout(step);
      else done(id);
    };
    step();
  };

  // Samples.
  const seeds = () => {
    const first = whole(byId('seed'));
    return Array.from({ length: Number(byId('count').value) }, (_, i) => first + i);
  };
  const drawSamples = () => {
    const all = seeds();
    draw('samples', Math.sqrt(all.length), all.map((seed) => () => scaled(seed)), (i) => labelOf(all[i]),
      all.length + ' samples, seeds ' + all[0] + ' to ' + all[all.length - 1]);
  };
  places.samples.forEach((canvas) => canvas.addEventListener('click', (event) => {
    const box = canvas.getBoundingClientRect();
    const side = Math.sqrt(seeds().length);
    const at = (offset, length) => Math.max(0, Math.min(side - 1, Math.floor(offset / length * side)));
    const seed = seeds()[at(event.clientY - box.top, box.height) * side + at(event.clientX - box.left, box.width)];
    byId('one-seed').value = byId('from-seed').value = seed;
    drawOne();
    drawPath();
    byId('one').scrollIntoView({ behavior: 'smooth', block: 'center' });
  }));

  // One image.
  const sliders = data.directions.map((_, index) => {
    const [label, pair, slider, output] = ['label', 'span', 'input', 'output'].map((name) => document.createElement(name));
    Object.assign(slider, { type: 'range', min: -4, max: 4, step: 0.1, value: 0 });
    pair.className = 'pair';
    output.textContent = '0.0';
    pair.append(slider, output);
    label.append('Direction ' + (index + 1), pair);
    byId('sliders').append(label);
    slider.addEventListener('input', () => {
      output.textContent = Number(slider.value).toFixed(1);
      drawOne();
    });
    return { slider, output };
  });
  byId('one-hint').hidden = sliders.length === 0;
  const drawOne = () => {
    const seed = whole(byId('one-seed'));
    const moved = () => {
      const z = scaled(seed);
      sliders.forEach(({ slider }, k) => {
        const amount = Number(slider.value);
        if (amount !== 0) data.directions[k].forEach((x, i) => { z[i] += amount * x; });
      });
      return z;
    };
    draw('one', 1, [moved], () => labelOf(seed), 'The image of seed ' + seed);
  };
  byId('reset').addEventListener('click', () => {
    sliders.forEach(({ slider, output }) => {
      slider.value = 0;
      output.textContent = '0.0';
    });
    drawOne();
  });

  // Interpolation.
  const STEPS = 9;
  const ends = () => [whole(byId('from-seed')), whole(byId('to-seed'))];
  const drawBetween = () => {
    const [from, to] = ends();
    const t = Number(byId('position').value);
    byId('position-value').textContent = t.toFixed(2);
    draw('between', 1, [() => slerp(scaled(from), scaled(to), t)], () => labelOf(from), 'Between seeds ' + from + ' and ' + to);
  };
  const drawPath = () => {
    const [from, to] = ends();
    const at = Array.from({ length: STEPS }, (_, i) => i / (STEPS - 1));
    draw('path', STEPS, at.map((t) => () => slerp(scaled(from), scaled(to), t)), () => labelOf(from),
      STEPS + ' images from seed ' + from + ' to seed ' + to);
    drawBetween();
  };
  let playing = 0;
  const play = (time) => {
    if (!playing) return;
    const phase = (Math.max(0, time - playing) / 3000) % 2;
    byId('position').value = phase < 1 ? phase : 2 - phase;
    drawBetween();
    requestAnimationFrame(play);
  };
  byId('play').addEventListener('click', () => {
    playing = playing ? 0 : performance.now();
    byId('play').textContent = playing ? 'Stop' : 'Play';
    if (playing) requestAnimationFrame(play);
  });

  // Saving: the images of all generators side by side, enlarged by a whole factor.
  document.querySelectorAll('.save').forEach((button) => button.addEventListener('click', () => {
    const all = places[button.dataset.of];
    const isRow = all[0].width <= 2 * all[0].height;
    const sum = (side) => all.reduce((total, canvas) => total + canvas[side] + 4 * GAP, -4 * GAP);
    const largest = (side) => Math.max(...all.map((canvas) => canvas[side]));
    const size = isRow ? [sum('width'), largest('height')] : [largest('width'), sum('height')];
    const scale = Math.max(1, Math.floor(768 / Math.max(...size)));
    const picture = document.createElement('canvas');
    [picture.width, picture.height] = size.map((side) => side * scale);
    const context = picture.getContext('2d');
    context.imageSmoothingEnabled = false;
    let at = 0;
    all.forEach((canvas) => {
      const [x, y] = isRow ? [at, 0] : [0, at];
      context.drawImage(canvas, x * scale, y * scale, canvas.width * scale, canvas.height * scale);
      at += (isRow ? canvas.width : canvas.height) + 4 * GAP;
    });
    picture.toBlob((blob) => {
      const link = document.createElement('a');
      link.href = URL.createObjectURL(blob);
      link.download = (data.title + '-' + button.dataset.of).replace(/[^a-zA-Z0-9-]+/g, '-') + '.png';
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }, 'image/png');
  }));

  // Classes.
  const drawAll = () => {
    drawSamples();
    drawOne();
    drawPath();
  };
  if (data.classes.length > 0) {
    byId('classes').hidden = false;
    ['By seed', ...data.classes].forEach((name, index) => {
      const [label, radio, text] = ['label', 'input', 'span'].map((element) => document.createElement(element));
      Object.assign(radio, { type: 'radio', name: 'class', checked: index === 0 });
      text.textContent = name;
      radio.addEventListener('change', () => {
        chosenClass = index - 1;
        drawAll();
      });
      label.append(radio, text);
      byId('classes').append(label);
    });
  }

  byId('random').addEventListener('click', () => {
    byId('seed').value = Math.floor(Math.random() * 1000000);
    drawSamples();
  });
  byId('truncation').addEventListener('input', () => {
    byId('truncation-value').textContent = truncation().toFixed(2);
    drawAll();
  });
  ['seed', 'count'].forEach((id) => byId(id).addEventListener('input', drawSamples));
  byId('one-seed').addEventListener('input', drawOne);
  byId('position').addEventListener('input', drawBetween);
  ['from-seed', 'to-seed'].forEach((id) => byId(id).addEventListener('input', drawPath));
  models.forEach((model) => {
    const line = document.createElement('p');
    line.textContent = (models.length > 1 ? model.name + ': ' : '') + model.about;
    byId('about').append(line);
  });
  byId('main').hidden = false;
  drawAll();
})();
