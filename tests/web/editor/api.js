// The editor's api, over a table of answers.

/** Path -> status and content of the answer. */
export const answers = {};
export const requests = [];

class Api extends EventTarget {
    async fetchApi(path, options) {
        requests.push([path, options]);
        const [status, content] = answers[path] ?? [404, undefined];
        return new Response(content === undefined ? "not JSON" : JSON.stringify(content), { status });
    }

    apiURL(path) {
        return `/api${path}`;
    }

    send(type, detail) {
        this.dispatchEvent(new CustomEvent(type, { detail }));
    }
}

export const api = new Api();
