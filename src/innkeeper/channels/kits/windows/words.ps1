# What error codes of the Windows Update Agent, of servicing and of Windows mean, for a person who has to do
# something about it. Codes and meanings: "Windows Update error code list by component" and "WUA networking
# error codes" in Microsoft's documentation.
$Meanings = @{
    # Nothing could be looked at, or downloaded.
    '0x8024001F' = 'there is no connection to the network'
    '0x80240438' = 'the update service cannot be reached: no route, or a firewall or proxy in between'
    '0x8024402C' = 'the name of the update server, or of the proxy, cannot be resolved'
    '0x8024402F' = 'the update server was reached, but what it sent was cut or changed on the way'
    '0x80244010' = 'the update server wanted more round trips than allowed; the next search goes on from there'
    '0x80244011' = 'the policy asks for an update server (WSUS), and names none'
    '0x80244016' = 'the update server did not understand the request (HTTP 400)'
    '0x80244017' = 'the update server wants a login (HTTP 401)'
    '0x80244018' = 'the update server, or a proxy, forbids the access (HTTP 403)'
    '0x80244019' = 'the update server does not have what was asked for (HTTP 404)'
    '0x8024401B' = 'the proxy wants a login (HTTP 407)'
    '0x8024401C' = 'the update server did not answer in time (HTTP 408)'
    '0x8024401F' = 'the update server has an error of its own (HTTP 500)'
    '0x80244021' = 'a gateway before the update server failed (HTTP 502)'
    '0x80244022' = 'the update server is overloaded, or stopped (HTTP 503)'
    '0x80244023' = 'a gateway before the update server did not answer in time (HTTP 504)'
    '0x80072EE2' = 'the update server did not answer in time'
    '0x80072EE7' = 'the name of the update server cannot be resolved'
    '0x80072EFD' = 'no connection to the update server can be made'
    '0x80072EFE' = 'the connection to the update server was broken'
    '0x80072F8F' = 'no secure connection to the update server: see the clock, and its certificate'
    '0x80246005' = 'a download needs a network connection, and there is none'
    '0x80246008' = 'the background transfer service (BITS) cannot be reached'
    '0x80240025' = 'a group policy forbids the access to Windows Update'
    '0x8024002E' = 'a policy forbids update servers that are not managed'
    '0x80070422' = 'a service that is needed is disabled: see wuauserv and BITS'
    '0x80240001' = 'the update service gives no service'
    '0x8024001E' = 'the update service, or Windows, was being stopped'
    # Others are at work.
    '0x80240009' = 'another search or installation is under way'
    '0x80240016' = 'another installation is under way, or Windows waits for a reboot'
    '0x80070652' = 'another installation (MSI) is under way'
    # The machine.
    '0x80070005' = 'the access was denied'
    '0x80070008' = 'there is not enough memory'
    '0x8007000E' = 'there is not enough memory'
    '0x80070070' = 'the disk is full'
    '0x80070020' = 'a file is in use by another program'
    '0x800705B4' = 'it took too long'
    '0x80073712' = 'the component store is damaged: files that Windows needs for servicing are missing'
    '0x800F081F' = 'the component store lacks the source files'
    '0x800F0831' = 'the component store lacks a package that the update stands on'
    '0x800F0823' = 'a newer servicing stack has to be installed first'
    '0x800F0922' = 'an installer of the update failed, or the system partition has no room'
    '0x80070BC9' = 'it failed, and Windows has to be rebooted to take back what was done'
    # The update.
    '0x8024000B' = 'it was cancelled'
    '0x80240017' = 'the update does not apply to this machine'
    '0x80240020' = 'the update wants somebody who is logged on'
    '0x80240022' = 'all updates failed'
    '0x80240023' = 'its licence terms were declined'
    '0x80240024' = 'there is no update'
    '0x80246002' = 'a downloaded file is damaged: it is not what the update says'
    '0x80246007' = 'the update has not been downloaded'
    '0x80242014' = 'the update goes on after the reboot'
    '0x80070643' = 'its installer (MSI) failed'
    '0x80070490' = 'a part of the component store was not found'
}

# Codes with which nothing was looked at.
$Unseen = '^0x(80072E|80072F|802440|8024001F|80240438|80246005|80246008)'

# Return a code in its usual form.
function Format-Result([int] $Result) {
    return '0x{0:X8}' -f $Result
}

# Return what a code means, with the code.
function Get-Meaning([int] $Result) {
    $code = Format-Result $Result
    $words = $Meanings[$code]
    if (-not $words -and $code -like '0x8007*') {
        $words = Get-Win32Message $Result
    }
    if (-not $words) { $words = 'an error that has no words here' }
    return "$words ($code)"
}

# Return what Windows itself says of a code, in its language.
function Get-Win32Message([int] $Code) {
    return (New-Object System.ComponentModel.Win32Exception $Code).Message.Trim(' .')
}

# Return the code of an error: COM's lies within what PowerShell makes of it.
function Get-Result($ErrorRecord) {
    $exception = $ErrorRecord.Exception
    while ($null -ne $exception.InnerException) { $exception = $exception.InnerException }
    return [int]$exception.HResult
}

# Return what an error means: by its code where it comes from COM, else in its own words.
function Get-Cause($ErrorRecord) {
    $exception = $ErrorRecord.Exception
    while ($null -ne $exception.InnerException) { $exception = $exception.InnerException }
    if ($exception -is [System.ApplicationException]) { return $exception.Message.Trim(' .') }
    $code = Format-Result $exception.HResult
    if ($exception -is [System.Runtime.InteropServices.COMException] -or $Meanings.ContainsKey($code)) {
        return Get-Meaning $exception.HResult
    }
    return $exception.Message.Trim(' .')
}
