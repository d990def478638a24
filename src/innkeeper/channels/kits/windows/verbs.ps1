# Answer one question.

# The words of a question come as '=' and base64: PowerShell would take what begins with a dash for a parameter
# of its own, and what has a colon apart. Others are taken as they are, for a person who tries this by hand.
function Read-Word([string] $Word) {
    if (-not $Word.StartsWith('=')) { return $Word }
    return [System.Text.Encoding]::UTF8.GetString([System.Convert]::FromBase64String($Word.Substring(1)))
}

function Invoke-Verb([string] $Verb, [string[]] $Words) {
    switch -CaseSensitive ($Verb) {
        'hello' { return Invoke-Hello }
        'facts' { return Invoke-Facts }
        'prepare' { return Invoke-PrepareVerb $Words[0] $Words[1] $Words[2] $Words[3] }
        'stop-preparing' { return Invoke-StopPreparing $Words[0] }
        'start' { return Invoke-Start $Words[0] $Words[1] $Words[2] }
        'task' { return Invoke-Task $Words[0] $Words[1] }
        'cancel' { return Invoke-Cancel $Words[0] }
        'health' { return Invoke-Health ($Words -contains 'history') }
        'evidence' { return Invoke-Evidence $Words }
        'effect' { return Invoke-Effect }
        'restart-units' { return Invoke-RestartUnits $Words }
        'scan' { return Invoke-Scan }
        'sessions' { return Invoke-Sessions }
        'reboot' { return Stop-Guest '/r' }
        'shut-down' { return Stop-Guest '/s' }
        'set-time' { return Invoke-SetTime $Words[0] }
        default { Stop-With "This kit does not know the question $Verb." }
    }
}

function Invoke-Kit([string] $Verb, $Given) {
    if ([Environment]::Is64BitOperatingSystem -and -not [Environment]::Is64BitProcess) {
        Stop-With 'The qemu-guest-agent of this guest is one for 32 bits. Install the one for 64 bits.'
    }
    Protect-Folder $Base
    Protect-Folder $Runs
    if ($Verb -eq 'work') { return Invoke-Worker $Given[0] }
    $words = @(foreach ($word in $Given) { Read-Word $word })
    return Invoke-Verb $Verb $words
}

try {
    $KitWords = @($args | Select-Object -Skip 1 | ForEach-Object { [string]$_ })
    $KitAnswer = @(Invoke-Kit ([string]$args[0]) $KitWords)[-1]
} catch {
    $KitError = Get-Cause $_
    if ($_.Exception -isnot [System.ApplicationException]) {
        $KitError = "The kit failed in line $($_.InvocationInfo.ScriptLineNumber): $KitError"
    }
    $KitAnswer = @{ error = "$(Limit-Text $KitError $MaxText)." }
}
if ($KitAnswer -is [System.Collections.IDictionary]) { [Console]::Out.Write((Format-Json $KitAnswer)) }
